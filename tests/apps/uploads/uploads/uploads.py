import reflex as rx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


class Files(rx.State):
    names: list[str] = []

    @rx.event
    async def receive(self, files: list[rx.UploadFile]):
        for file in files:
            (rx.get_upload_dir() / file.name).write_bytes(await file.read())
            self.names.append(file.name)


def form(name):
    return rx.el.div(
        rx.upload(rx.el.p("drop"), id=name),
        rx.el.button("send", on_click=Files.receive(rx.upload_files(upload_id=name)), id="send"),
        rx.foreach(Files.names, lambda file: rx.el.a(file, href=rx.get_upload_url(file), class_name="file")),
    )


def hello(request):
    return PlainTextResponse("hello")


def transform(app):
    """A middleware that is a function."""

    async def with_header(scope, receive, send):
        async def sent(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-shop", b"open")]
            await send(message)

        await app(scope, receive, sent)

    return with_header


app = rx.App(api_transformer=[Starlette(routes=[Route("/hello", hello)]), transform])
app.add_page(lambda: form("first"), route="/")
app.add_page(lambda: form("second"), route="/second")
