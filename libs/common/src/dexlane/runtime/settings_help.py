"""What a service says when it is asked for help: what it is, and every setting with its default."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from importlib.metadata import version

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from dexlane.runtime.settings import ServiceSettings, environment_names, service_of

WIDTH = 100


def take_no_arguments(settings_type: type[ServiceSettings], what: str, arguments: Sequence[str]) -> None:
    """Answer ``--help`` and ``--version``, and refuse anything else with exit code 2: services are configured by the
    environment alone. ``what`` says what the service is."""
    name = f"dexlane-{service_of(settings_type)}"
    parser = argparse.ArgumentParser(
        prog=name,
        usage=f"{name} [--help] [--version]",
        description=f"{what}\n\nIt takes no arguments: what it needs to know comes from the environment.",
        epilog=settings_text(settings_type),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('dexlane-common')}")
    parser.parse_args(arguments)


def settings_text(settings_type: type[ServiceSettings]) -> str:
    """Every setting: its name in the environment, what it is without being set, and what it means; those of the
    service alone first."""
    names = environment_names(settings_type)
    own = f"DEXLANE_{service_of(settings_type).upper().replace('-', '_')}_"
    fields = sorted(settings_type.model_fields.items(), key=lambda field: not names[field[0]].startswith(own))
    return "settings:\n" + "\n".join("\n".join(_entry(names[field], info)) for field, info in fields)


def _entry(name: str, info: FieldInfo) -> list[str]:
    said = [f"  {name}  ({_default(info)})"]
    if info.description:
        said += textwrap.wrap(info.description, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return said


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "must be set"
    value = info.get_default(call_default_factory=True)
    if value in (None, "", (), {}):
        return "not set"
    if isinstance(value, tuple):
        return ",".join(str(one) for one in value)
    return TypeAdapter(dict).dump_json(value).decode() if isinstance(value, dict) else str(value)
