#!/bin/sh
# Finds REGISTRY_TOKEN, DEPLOY_TOKEN, and the variables of AWS in its environment while it runs.
set -eu
printf 'header = "Authorization: Bearer %s"\n' "$REGISTRY_TOKEN" |
  curl --fail --silent --show-error --config - https://registry.example.com/v2/
printf 'header = "Authorization: Bearer %s"\n' "$DEPLOY_TOKEN" |
  curl --fail --silent --show-error --config - --request POST https://deploy.example.com/releases
aws s3 cp release.tar.gz s3://releases.example.com/
