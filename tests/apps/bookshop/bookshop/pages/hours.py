import reflex as rx


def hours() -> rx.Component:
    return rx.el.main(rx.heading("Opening hours"), rx.text("From 9 to 5", id="hours"))


def book() -> rx.Component:
    return rx.el.main(rx.text(rx.State.router.page.params["title"], id="book"))
