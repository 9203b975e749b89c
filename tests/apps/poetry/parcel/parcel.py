import humanize
import reflex as rx


class Parcel(rx.State):
    grams: int = 0

    @rx.var
    def shown(self) -> str:
        return humanize.naturalsize(self.grams)

    @rx.event
    def add(self):
        self.grams += 1000


def index():
    return rx.el.div(rx.el.p(Parcel.shown, id="shown"), rx.el.button("add", on_click=Parcel.add, id="add"))


app = rx.App()
app.add_page(index)
