import reflex as rx


class Files(rx.State):
    names: list[str] = []

    @rx.event
    async def receive(self, files: list[rx.UploadFile]):
        for file in files:
            (rx.get_upload_dir() / file.name).write_bytes(await file.read())
            self.names.append(file.name)


def form(name):
    return rx.vstack(
        rx.upload(rx.text("drop"), id=name),
        rx.button("send", on_click=Files.receive(rx.upload_files(upload_id=name)), id="send"),
        rx.foreach(Files.names, lambda file: rx.link(file, href=rx.get_upload_url(file), class_name="file")),
    )


app = rx.App()
app.add_page(lambda: form("first"), route="/")
app.add_page(lambda: form("second"), route="/second")
