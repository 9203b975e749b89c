#!/bin/bash
# The article's order and flags: the backend, a question each second, then Caddy in this script's place.
# Without these two it does not become ready on Reflex 0.10.1: the app would compile its pages first.
export __REFLEX_SKIP_COMPILE=1 REFLEX_ENV_MODE=prod
gunicorn --bind ":$BACKEND_PORT" --workers 1 --worker-class uvicorn.workers.UvicornWorker --threads 4 -t 3600 \
    --max-requests 1000 --max-requests-jitter 50 my_reflex_app.my_reflex_app:app &
until curl -s "http://127.0.0.1:$BACKEND_PORT/ping"; do sleep 1; done
exec caddy run --config Caddyfile --adapter caddyfile
