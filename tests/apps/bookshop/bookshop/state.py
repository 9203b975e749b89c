import humanize
import reflex as rx
from sqlmodel import select

from bookshop.models import Book, prepare


class Shelf(rx.State):
    titles: list[str] = []
    total: str = ""

    @rx.event
    def look(self):
        prepare()
        with rx.session() as session:
            books = session.exec(select(Book)).all()
        self.titles = [book.title for book in books]
        self.total = humanize.intcomma(sum(book.price for book in books))

    @rx.event
    def add(self, form: dict):
        with rx.session() as session:
            session.add(Book(title=form["title"], price=1500))
            session.commit()
        return Shelf.look
