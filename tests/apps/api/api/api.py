import fastapi
import reflex as rx
from fastapi.responses import PlainTextResponse

api = fastapi.FastAPI()
admin = fastapi.FastAPI()


@api.get("/api/items/{number}")
async def item(number: int):
    return {"number": number}


@api.post("/api/items")
def add(item: dict):
    return {"added": item}


@api.get("/ping-pong", response_class=PlainTextResponse)
def pong():
    return "pong"


@admin.get("/users/{name:path}")
def user(name: str):
    return {"name": name}


api.mount("/admin", admin)


class State(rx.State):
    @rx.event
    def fail(self):
        raise ValueError("on purpose")


def handle(exception: Exception):
    return rx.set_value("said", f"sorry: {exception}")


def index():
    return rx.vstack(rx.input(id="said"), rx.button("fail", on_click=State.fail, id="fail"))


def transform(app):
    """A middleware that is a function."""

    async def with_header(scope, receive, send):
        async def sent(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-shop", b"open")]
            await send(message)

        await app(scope, receive, sent)

    with_header.app = app
    return with_header


app = rx.App(api_transformer=[api, transform], backend_exception_handler=handle)
app.add_page(index)
