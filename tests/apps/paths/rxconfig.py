import reflex as rx

config = rx.Config(
    app_name="paths",
    frontend_path="/shop",
    backend_path="/backend",
    deploy_url="https://example.com",
    plugins=[rx.plugins.SitemapPlugin()],
)
