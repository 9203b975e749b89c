#!/bin/bash
# The article's order and flags: the backend, a question each second, then Caddy in this script's place.
gunicorn --bind ":$BACKEND_PORT" --workers 1 --worker-class uvicorn.workers.UvicornWorker --threads 4 -t 3600 \
    --max-requests 1000 --max-requests-jitter 50 my_reflex_app.my_reflex_app:app &
until curl -s "http://127.0.0.1:$BACKEND_PORT/ping"; do sleep 1; done
exec caddy run --config Caddyfile --adapter caddyfile
