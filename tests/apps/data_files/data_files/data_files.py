import cities
import reflex as rx


class Table(rx.State):
    rows: list[dict] = []

    @rx.event
    def load(self):
        self.rows = cities.read()


def index():
    return rx.el.div(
        rx.el.p(cities.NOTE, id="note"),
        rx.el.button("load", on_click=Table.load, id="load"),
        rx.el.ul(rx.foreach(Table.rows, lambda row: rx.el.li(row["city"], ": ", row["people"])), id="rows"),
    )


app = rx.App()
app.add_page(index)
