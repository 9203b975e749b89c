import asyncio

import reflex as rx


class Counter(rx.State):
    count: int = 0
    behind: int = 0
    names: list[str] = []

    @rx.event
    def add(self):
        self.count += 1

    @rx.event(background=True)
    async def work(self):
        for _ in range(3):
            await asyncio.sleep(0.1)
            async with self:
                self.behind += 1

    @rx.event
    async def receive(self, files: list[rx.UploadFile]):
        for file in files:
            (rx.get_upload_dir() / file.name).write_bytes(await file.read())
            self.names.append(file.name)


def index():
    return rx.vstack(
        rx.text(Counter.count, id="count"),
        rx.button("add", on_click=Counter.add, id="add"),
        rx.text(Counter.behind, id="behind"),
        rx.button("work", on_click=Counter.work, id="work"),
        rx.upload(rx.text("drop"), id="files"),
        rx.button("send", on_click=Counter.receive(rx.upload_files(upload_id="files")), id="send"),
        rx.foreach(Counter.names, lambda name: rx.link(name, href=rx.get_upload_url(name), class_name="file")),
    )


def item():
    return rx.text(f"item {rx.State.slug}", id="item")


app = rx.App()
app.add_page(index)
app.add_page(item, route="/item/[slug]")
