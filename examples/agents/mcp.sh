#!/bin/sh
# A client of the Model Context Protocol that holds no token: the gateway adds it.
# usage: mcp.sh CLIENT…    (the server's URL is its last word)
set -eu
exec brokerctl exec --agent coder -p docs --gateway -- sh -c 'exec "$@" "$BROKERCTL_GATEWAY_DOCS/mcp"' sh "$@"
