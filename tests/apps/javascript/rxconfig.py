import reflex as rx

config = rx.Config(app_name="javascript", plugins=[rx.plugins.RadixThemesPlugin()])
