"""certs init, issue, revoke, show: mutual TLS with an authority of one's own."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal

import typer

from hotctl.commands.options import say, show

app = typer.Typer(
    help="Certificates for operators at other machines, signed by an authority of your own.", no_args_is_help=True
)
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The authority's folder.")]
Name = Annotated[str, typer.Argument(help="Who it is for; two certificates of one name are one person.")]
RoleWord = Literal["viewer", "operator", "risk_officer", "admin"]


@app.command()
def init(
    folder: Folder,
    host: Annotated[
        list[str] | None, typer.Option(help="Name or address of the engine's host; may be repeated.")
    ] = None,
) -> None:
    """Make the authority, and the engine's own certificate."""
    from hotctl.certs import Authority

    Authority(folder).init(host or [])
    say(f'{folder}: made. In the engine\'s configuration: [control] host = "0.0.0.0", tls_dir = "{folder}/server"')
    say(
        f"next: hotctl certs issue {folder} NAME --role operator; keep {folder}/ca.key off the engine's host if you can"
    )


@app.command()
def issue(
    folder: Folder,
    name: Name,
    role: Annotated[RoleWord, typer.Option(help="What its owner may do.")] = "viewer",
    days: Annotated[int, typer.Option(min=1, max=3650, help="That it is good for.")] = 90,
) -> None:
    """Sign a certificate for one person or program."""
    from hotctl.certs import Authority

    target = Authority(folder).issue(name, role, days=days)
    say(f'{target}: give this folder to {name}. A profile: target = "HOST:26500", tls_dir = "{target}"')


@app.command()
def revoke(folder: Folder, name: Name) -> None:
    """Take a certificate back; the engine's next look refuses it, connections that are open too."""
    from hotctl.certs import Authority

    found = Authority(folder).revoke(name)
    say(f"{name}: {found.serial} is revoked; where the engine has a copy, give it {folder}/server/crl.pem")


@app.command("show")
def show_all(folder: Folder) -> None:
    """List every certificate that the authority signed, and how old its key is."""
    from hotctl.certs import Authority

    now = dt.datetime.now(dt.UTC)
    rows = []
    for each in Authority(folder).issued():
        issued, expires = dt.datetime.fromisoformat(each.issued), dt.datetime.fromisoformat(each.expires)
        state = "revoked" if each.revoked else "expired" if expires < now else "good"
        age, left = (now - issued).days, (expires - now).days
        rows.append(
            {
                "name": each.name,
                "role": each.role,
                "state": state,
                "age_days": age,
                "left_days": left,
                "serial": each.serial,
            }
        )
    show(rows, columns=("name", "role", "state", "age_days", "left_days", "serial"))
