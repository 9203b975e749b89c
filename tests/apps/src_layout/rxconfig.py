import reflex as rx

config = rx.Config(app_name="shop", app_module_import="shop.main")
