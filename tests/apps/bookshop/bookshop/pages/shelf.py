import reflex as rx

from bookshop.state import Shelf


def shelf() -> rx.Component:
    return rx.el.main(
        rx.image(src="/logo.svg", alt="", width="3rem"),
        rx.heading("Bookshop"),
        rx.form(rx.input(name="title", id="title"), rx.button("Add", type="submit", id="add"), on_submit=Shelf.add),
        rx.el.ul(rx.foreach(Shelf.titles, rx.el.li), id="books"),
        rx.text(Shelf.total, id="total"),
        rx.link("Opening hours", href="/hours"),
    )
