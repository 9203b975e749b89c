#!/bin/sh
# Redis is not made a daemon, so that it ends with the rest where there is no container to end it.
set -e
caddy start --config Caddyfile --adapter caddyfile
redis-server --port "$REDIS_PORT" &
exec reflex run --env prod --backend-only --backend-port "$BACKEND_PORT"
