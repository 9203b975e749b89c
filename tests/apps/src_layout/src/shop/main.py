import humanize
import reflex as rx


class Till(rx.State):
    total: int = 0

    @rx.var
    def shown(self) -> str:
        return humanize.intcomma(self.total)

    @rx.event
    def sell(self):
        self.total += 1500


def index():
    return rx.el.div(rx.el.p(Till.shown, id="shown"), rx.el.button("sell", on_click=Till.sell, id="sell"))


app = rx.App()
app.add_page(index)
