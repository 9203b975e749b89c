import reflex as rx

config = rx.Config(
    app_name="bookshop",
    db_url="sqlite:///bookshop.db",
    plugins=[rx.plugins.SitemapPlugin()],
    deploy_url="https://books.example.com",
)
