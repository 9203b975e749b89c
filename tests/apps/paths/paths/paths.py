import reflex as rx


class Count(rx.State):
    count: int = 0

    @rx.event
    def more(self):
        self.count += 1

    @rx.var
    def shown(self) -> str:
        return f"item {self.number}" if self.number else ""


def index():
    return rx.vstack(
        rx.text(Count.count, id="count"),
        rx.button("more", on_click=Count.more, id="more"),
        rx.image("/Logo.SVG", id="logo"),
        rx.link("the third", href="/item/3", id="third"),
    )


app = rx.App()
app.add_page(index)
app.add_page(lambda: rx.text(Count.shown, id="shown"), route="/item/[number]")
app.add_page(lambda: rx.text("hours", id="hours"), route="/hours/", title="Hours")
