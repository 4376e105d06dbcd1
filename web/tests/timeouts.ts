/** Longer timeouts, for busy machines. */

import { configure } from "@testing-library/preact";

configure({ asyncUtilTimeout: 60_000 });
