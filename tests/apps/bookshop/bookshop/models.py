import reflex as rx
from sqlmodel import Field, SQLModel


class Book(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    title: str
    price: int


def prepare() -> None:
    with rx.session() as session:
        SQLModel.metadata.create_all(session.get_bind())
