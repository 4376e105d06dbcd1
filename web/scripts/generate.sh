#!/bin/sh
# Write what the pages know of the server into a folder: generate.sh FOLDER
# `npm run generate` runs this in web/. `python` must have the server's package.
set -eu

rm -rf "$1"
mkdir -p node_modules/.cache
python scripts/describe_server.py "$1" node_modules/.cache/openapi.json
FOLDER=$1 openapi-ts --silent
# The check writes below node_modules, which .prettierignore names.
prettier --log-level warn --with-node-modules --ignore-path /dev/null --write "$1"
