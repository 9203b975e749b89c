"""The one place that says which combinations of answers are tested. Adding an answer is adding a row."""

from itertools import product

from harness.servers import SERVERS

STARTUPS = ["overlap", "backend-first"]
STORES = ["disk", "redis"]

Answers = dict[str, str | int | bool]

#: Every server with every start-up order and every store.
COMBINATIONS: list[Answers] = [
    {"server": server, "startup": startup, "state_store": store}
    for server, startup, store in product(SERVERS, STARTUPS, STORES)
]

#: The ends of each number, and each answer that changes files by itself.
EDGES: list[Answers] = [
    {"threads": 1, "concurrency": 1},
    {"threads": 256, "concurrency": 1000, "min_instances": 1},
    {"state_store": "redis", "workers": 16, "max_instances": 1000, "min_instances": 1000},
    {"server": "uvicorn", "state_store": "redis", "workers": 2, "max_requests": 1_000_000},
    {"server": "gunicorn", "max_requests": 1},
    {"cpu": "1", "memory": "4Gi"},
    {"cpu": "8", "memory": "32Gi"},
    {"cpu": "4"},
    {"python_version": "3.11", "region": "europe-west12", "gcp_project": "my-project-123"},
    {"python_version": "3.15", "public": False, "github_actions": False},
    {"deploy_url": "https://shop.example.com"},
    {"public": False, "iap": True},
    {"billing": "instance", "min_instances": 1, "execution_environment": "gen1"},
    {"service_name": "a", "app_name": "A"},
    {"database": "sqlite"},
    {"uploads": "bucket", "state_store": "redis", "max_instances": 4},
    {"database": "postgres", "server": "granian"},
    {"database": "postgres", "database_network": "private", "database_availability": "regional"},
    {"database": "postgres", "state_store": "redis", "max_instances": 20, "workers": 4},
]

#: Names that break what is not quoted with care.
HOSTILE_NAMES: list[Answers] = [
    {"project_name": """Tom's "Best" \\ $(touch /tmp/x) `id` {{ 7 * 7 }} {% raw %} <b>&amp;</b> #1 %s"""},
    {"project_name": "日本語のアプリ 🚀", "project_description": 'It\'s "good": # yes, \\n {{ no }} ${NO} 🚀'},
    {"project_name": "class"},
    {"project_name": "42"},
    {"project_name": "-- --"},
    {"project_name": "x" * 80, "project_description": "y" * 200},
    {"project_name": "zoo", "app_name": "Zoo_" + "o" * 36, "service_name": "z" * 49},
    {"project_name": "Null", "service_name": "null"},
    {"project_name": " yes: [no] "},
]

VARIANTS = [*COMBINATIONS, *EDGES, *HOSTILE_NAMES]

#: Answers that are refused: the answer at fault, all the answers given, and words that the message must have.
WRONG: list[tuple[str, Answers, str]] = [
    ("project_name", {"project_name": "   "}, "My Reflex App"),
    ("project_name", {"project_name": "two\nlines"}, "one line"),
    ("project_name", {"project_name": "bell\a"}, "printable"),
    ("project_name", {"project_name": "x" * 81}, "80"),
    ("app_name", {"app_name": "my-app"}, "identifier"),
    ("app_name", {"app_name": "1app"}, "identifier"),
    ("app_name", {"app_name": ""}, "identifier"),
    ("app_name", {"app_name": "x" * 41}, "40"),
    ("app_name", {"app_name": "../app"}, "identifier"),
    ("app_name", {"app_name": "app\n"}, "identifier"),
    ("app_name", {"app_name": "class"}, "class_app"),
    ("app_name", {"app_name": "json"}, "json_app"),
    ("app_name", {"app_name": "reflex"}, "reflex_app"),
    ("app_name", {"app_name": "Tests"}, "tests_app"),
    ("app_name", {"app_name": "starlette"}, "starlette_app"),
    ("project_description", {"project_description": "two\nlines"}, "one line"),
    ("project_description", {"project_description": "x" * 201}, "200"),
    ("python_version", {"python_version": "3.10"}, ""),
    ("server", {"server": "hypercorn"}, ""),
    ("startup", {"startup": "caddy-first"}, ""),
    ("state_store", {"state_store": "memory"}, ""),
    ("workers", {"workers": 0, "state_store": "redis"}, "1 to 16"),
    ("workers", {"workers": 17, "state_store": "redis"}, "1 to 16"),
    ("workers", {"workers": 2}, "redis"),
    ("threads", {"threads": 0}, "1 to 256"),
    ("threads", {"threads": 257}, "1 to 256"),
    ("threads", {"threads": "many"}, "1 to 256"),
    ("threads", {"threads": 1.5}, "1 to 256"),
    ("threads", {"threads": True}, "1 to 256"),
    ("workers", {"workers": None, "state_store": "redis"}, "1 to 16"),
    ("min_instances", {"min_instances": "none"}, "0 to max_instances"),
    ("public", {"public": "maybe"}, ""),
    ("cpu", {"cpu": "two"}, ""),
    ("max_requests", {"max_requests": -1}, "0 to 1000000"),
    ("max_requests", {"max_requests": 1_000_001}, "1000000"),
    ("max_requests", {"max_requests": 10, "server": "granian"}, "granian"),
    ("max_requests", {"max_requests": 10, "server": "reflex"}, "reflex"),
    ("max_requests", {"max_requests": 10, "server": "uvicorn"}, "workers 2"),
    ("iap", {"iap": True}, "public false"),
    ("billing", {"billing": "monthly"}, ""),
    ("execution_environment", {"execution_environment": "gen3"}, ""),
    ("execution_environment", {"execution_environment": "gen1", "uploads": "bucket"}, "gen2"),
    ("redis_tier", {"redis_tier": "premium", "state_store": "redis"}, ""),
    ("database_availability", {"database_availability": "always", "database": "postgres"}, ""),
    ("database_network", {"database_network": "vpc", "database": "postgres"}, ""),
    ("region", {"region": "mars-north1"}, ""),
    ("service_name", {"service_name": "My-App"}, "lower-case"),
    ("service_name", {"service_name": "app-"}, "hyphen"),
    ("service_name", {"service_name": "1app"}, "start with"),
    ("service_name", {"service_name": "a" * 50}, "50"),
    ("gcp_project", {"gcp_project": "short"}, "6 to 30"),
    ("gcp_project", {"gcp_project": "example.com:shop"}, "no domain"),
    ("gcp_project", {"gcp_project": "Has-Capitals"}, "lower-case"),
    ("cpu", {"cpu": "3"}, ""),
    ("memory", {"memory": "8Gi"}, "512Mi to 4Gi"),
    ("memory", {"memory": "512Mi", "cpu": "4"}, "2Gi to 16Gi"),
    ("memory", {"memory": "3Gi"}, ""),
    ("concurrency", {"concurrency": 0}, "1 to 1000"),
    ("concurrency", {"concurrency": 1001}, "1 to 1000"),
    ("max_instances", {"max_instances": 2}, "redis"),
    ("max_instances", {"max_instances": 0, "state_store": "redis"}, "1 to 1000"),
    ("min_instances", {"min_instances": 2}, "max_instances"),
    ("min_instances", {"min_instances": -1}, "0 to max_instances"),
    ("deploy_url", {"deploy_url": "http://example.com"}, "https"),
    ("deploy_url", {"deploy_url": "https://example.com/shop"}, "no path"),
    ("deploy_url", {"deploy_url": 'https://example.com"'}, "https"),
]


def name(answers: Answers) -> str:
    """Name a variant for the test's report: its answers, shortened."""
    return "-".join(f"{value!s:.24}" for value in answers.values()).encode("ascii", "replace").decode() or "defaults"
