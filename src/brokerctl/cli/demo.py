"""`brokerctl demo`: shows all that we do on an embedded issuer, or serves that issuer for tests."""

from __future__ import annotations

from typing import Annotated

import typer

from brokerctl.errors import UsageError

Serve = typer.Option("--serve", help="Only serve the issuer, until SIGINT or SIGTERM.")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    serve: Annotated[bool, Serve] = False,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="With --serve: on loopback.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="With --serve; 0: any.")
    ] = 0,
    access_ttl: Annotated[
        int, typer.Option(min=1, metavar="SECONDS", help="With --serve: of tokens.")
    ] = 3600,
    interval: Annotated[
        int, typer.Option(min=0, metavar="SECONDS", help="With --serve: of device polls.")
    ] = 5,
    subject: Annotated[
        str, typer.Option(metavar="NAME", help="With --serve: who logs in.")
    ] = "alice",
    auto_approve: Annotated[
        bool, typer.Option("--auto-approve", help="With --serve: ask nobody.")
    ] = False,
) -> int:
    """Show the whole job on an issuer of our own.

    It uses a folder and a process of its own and leaves nothing behind. With --serve it prints
    one line of JSON (issuer and clients) and serves other people's tests; who reaches it can
    log in as anybody, so it binds loopback addresses alone.

    \b
      brokerctl demo
      brokerctl demo --serve --auto-approve --access-ttl 60
    """
    if not serve:
        from brokerctl.demo import story

        return story.tell()
    from brokerctl.demo.serve import serve as run
    from brokerctl.demo.state import Settings

    settings = Settings(
        access_ttl=access_ttl, interval=interval, subject=subject, auto_approve=auto_approve
    )
    try:
        run(settings, host, port, until_eof=False)
    except (ValueError, OSError) as error:
        raise UsageError(f"can't serve: {error}") from error
    return 0
