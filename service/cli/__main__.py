"""``python -m service.cli`` is ``energy-flow``."""

from service.cli import main

main()
