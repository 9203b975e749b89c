import reflex as rx


def index():
    return rx.vstack(rx.heading("Tea house", id="name"), rx.link("Opening hours", href="/hours", id="hours"))


def hours():
    return rx.text("9 to 5", id="open")


app = rx.App(enable_state=False)
app.add_page(index)
app.add_page(hours)
