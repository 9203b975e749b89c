import reflex as rx


class Counter(rx.ComponentState):
    count: int = 0

    @rx.event
    def more(self):
        self.count += 1

    @classmethod
    def get_component(cls, **props):
        return rx.el.div(rx.el.p(cls.count, id=f"{props['id']}-count"), rx.el.button("more", on_click=cls.more, **props))


class Board(rx.State):
    pass


def index():
    return rx.el.div(Counter.create(id="first"), Counter.create(id="second"))


def late():
    """Its events exist only when this has run."""
    if "done" not in Board.event_handlers:

        def done(self):
            return rx.set_value("said", "done")

        Board._add_event_handler("done", done)
    return rx.el.div(rx.el.input(id="said"), rx.el.button("done", on_click=Board.done, id="done"))


app = rx.App()
app.add_page(index)
app.add_page(late, route="/late")
app.add_page(lambda: rx.el.p("nothing here"), route="/plain")
