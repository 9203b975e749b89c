import reflex as rx
from sqlmodel import Field, SQLModel, select


class Memo(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    text: str | None = None


class Memos(rx.State):
    texts: list[str] = []

    @rx.event
    def load(self):
        with rx.session() as session:
            self.texts = [memo.text for memo in session.exec(select(Memo))]

    @rx.event
    def add(self, form: dict):
        with rx.session() as session:
            session.add(Memo(text=form["text"]))
            session.commit()
        return Memos.load


def index():
    return rx.el.div(
        rx.el.form(rx.el.input(name="text", id="text"), rx.el.button("add", id="add"), on_submit=Memos.add),
        rx.el.ul(rx.foreach(Memos.texts, rx.el.li), id="memos"),
    )


app = rx.App()
app.add_page(index, on_load=Memos.load)
