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


@api.get("/where", response_class=PlainTextResponse)
def where(request: fastapi.Request):
    return str(request.url_for("callback", provider="github"))


@api.websocket("/echo")
async def echo(socket: fastapi.WebSocket):
    await socket.accept()
    await socket.send_text(await socket.receive_text())


login = fastapi.APIRouter(prefix="/login")
providers = fastapi.APIRouter()


@providers.get("/{provider}/callback")
def callback(provider: str):
    return {"provider": provider}


login.include_router(providers, prefix="/providers")
api.include_router(login, prefix="/v2")
api.mount("/admin", admin)


class State(rx.State):
    @rx.event
    def fail(self):
        raise ValueError("on purpose")


def handle(exception: Exception):
    return rx.set_value("said", f"sorry: {exception}")


def index():
    return rx.el.div(rx.el.input(id="said"), rx.el.button("fail", on_click=State.fail, id="fail"))


app = rx.App(api_transformer=api, backend_exception_handler=handle)
app.add_page(index)
