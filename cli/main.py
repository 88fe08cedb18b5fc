"""The command `portone-orders`. Each group of commands has its own module and is added here."""

import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from cli import events
from cli.archive import archive
from cli.demo import demo
from cli.errors import CommandFailed, exit_code, in_a_sentence, usage_sentence
from cli.exit_codes import ExitCode, epilog
from cli.later import later
from cli.order import order
from cli.output import AsJson, print_json, working
from cli.problems import problems
from cli.reconcile import reconcile
from cli.sandbox import sandbox
from cli.screen import Screen
from cli.settings_source import load_settings, load_with_source
from cli.size import size
from cli.status import status
from cli.top import top
from service.settings import Settings

if TYPE_CHECKING:
    from cli.doctor import Finding

app = typer.Typer(
    help="Turns PortOne payment notices into verified order state."
    " Try `make run`, which calls `portone-orders dev`: it needs nothing else.",
    epilog=epilog(),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_LOOK, _TRY, _RUN = "Look and act", "Try", "Run"
app.command(rich_help_panel=_LOOK)(status)
app.command(rich_help_panel=_LOOK)(top)
app.add_typer(order, rich_help_panel=_LOOK)
app.add_typer(order, name="orders", hidden=True)  # whoever thinks of several finds it too
app.add_typer(events.app, name="events", rich_help_panel=_LOOK)
app.add_typer(problems, rich_help_panel=_LOOK)
app.add_typer(
    later("cli.notices"),
    name="notices",
    help="List the parked or the open notices, show them, replay them, and dismiss them.",
    rich_help_panel=_LOOK,
)
app.add_typer(
    later("cli.endpoints"),
    name="endpoints",
    help="Set up the endpoints of other services that are told of each change (outgoing webhooks).",
    no_args_is_help=True,
    rich_help_panel=_LOOK,
)
app.add_typer(
    later("cli.keys"),
    name="keys",
    help="Make, list and revoke the keys with which other services call.",
    no_args_is_help=True,
    rich_help_panel=_LOOK,
)
app.command(rich_help_panel=_LOOK)(reconcile)
app.add_typer(archive, rich_help_panel=_LOOK)
app.command(rich_help_panel=_LOOK)(size)
app.command(rich_help_panel=_TRY)(demo)
app.add_typer(sandbox, rich_help_panel=_TRY)


def main() -> None:
    """Run the command, and end with its exit code. Every error ends in one sentence; Ctrl-C and `head` in none."""
    code = run()
    if code == ExitCode.UNREAD:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python would complain as it ends
    sys.exit(code)


def run() -> int:
    """Run the command. Returns its exit code."""
    try:
        code = app(standalone_mode=False) or ExitCode.DONE
        sys.stdout.flush()
    except BrokenPipeError:
        return ExitCode.UNREAD
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # typer and rich end so
            return ExitCode.UNREAD
        raise
    except KeyboardInterrupt:
        return ExitCode.STOPPED
    except Exception as error:
        sentence = usage_sentence(error) or in_a_sentence(error)
        if sentence is None:
            raise
        typer.echo(sentence, err=True)
        return exit_code(error)
    return code


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"portone-orders {version('portone-orders')}")
        raise typer.Exit


@app.callback()
def portone_orders(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


@app.command(rich_help_panel=_RUN)
def dev() -> None:
    """Run the whole service on this machine, with its own Postgres, Redis and a stand-in for PortOne.

    Data stays in STATE_DIR (.run). Set DATABASE_URL, REDIS_URL or PORTONE_API_URL to use your own instead. Ctrl-C
    stops everything that it started.
    """
    if sys.platform == "win32":
        raise CommandFailed("`dev` runs on Linux and macOS: on Windows use WSL, or docker-compose.yml.")
    from cli.dev import run_dev

    run_dev(Settings.load())


@app.command(rich_help_panel=_RUN)
def serve() -> None:
    """Run the HTTP server for PortOne's notices and other services' requests, on HOST:PORT."""
    from cli.serve import run_receiver

    run_receiver(Settings.load())


@app.command(rich_help_panel=_RUN)
def worker() -> None:
    """Run a worker. It asks PortOne about each notice and updates the order. Run as many as you like."""
    from cli.serve import run_worker

    run_worker(Settings.load())


@app.command(rich_help_panel=_RUN)
def migrate() -> None:
    """Bring the database in DATABASE_URL up to date. This is safe at any time, and from several places at once.

    Behind a pooler that shares sessions it is refused: DIRECT_DATABASE_URL then names Postgres itself.
    """
    from service.db.migrate import migrate as apply

    settings = Settings.load().require("database_url")
    url = settings.direct_url
    try:
        with working("Migrating"):
            applied = asyncio.run(apply(url))
    except (OSError, TimeoutError) as error:
        from cli.checks.databases import postgres_sentence

        raise CommandFailed(postgres_sentence(url, error)) from error
    typer.echo("\n".join(f"Applied {name}" for name in applied) or "The database is up to date.")


@app.command(rich_help_panel=_RUN)
def settings(as_json: AsJson = False) -> None:
    """Print the settings of the running receiver, with secrets hidden, and who differs from them.

    Without a receiver they are those of the environment, a running `make run`, or `.env`.
    """
    from cli.running_settings import running_processes, settings_in_force

    loaded, source = load_with_source()
    values, sentences = settings_in_force(loaded, source, running_processes(loaded))
    for sentence in sentences:
        typer.echo(sentence, err=True)
    if as_json:
        print_json(values)
        return
    for name, text in values.items():
        typer.echo(f"{name}={text}")


@app.command(rich_help_panel=_LOOK)
def doctor(as_json: AsJson = False) -> None:
    """Check the running service, Postgres, Redis and PortOne, and name the culprit of each fault.

    The exit code is 1 if there is a fault.
    """
    from cli.doctor import examine

    with working("Examining"):
        findings = asyncio.run(examine(load_settings))
    if as_json:
        print_json({"parts": findings})
    else:
        _print_findings(findings)
    if any(finding.faults for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


def _print_findings(findings: "Sequence[Finding]") -> None:
    screen = Screen()
    for finding in findings:
        for line in finding.lines:
            screen.line(line, "bold red" if finding.faults else "yellow" if finding.not_checked else "green")


if __name__ == "__main__":
    main()
