"""The scheduler's profiles, as the settings name them.

Enters: Settings.
Leaves: profiles; none for upstream's default one.
Holds: a mistake in the file keeps the server from starting: pods of a profile that is not there would wait for ever.
Next: scheduler.configuration, reconcile.scheduling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekube.settings import Settings

if TYPE_CHECKING:
    from edgekube.scheduler.profiles import Profile


class SchedulerConfigRefused(Exception):
    """The file cannot be used; the text says why."""


def read_profiles(settings: Settings) -> tuple[Profile, ...]:
    """SchedulerConfigRefused."""
    path = settings.scheduler_config
    if path is None:
        return ()
    import yaml

    from edgekube.scheduler.arguments import ConfigurationError
    from edgekube.scheduler.configuration import profiles_of

    try:
        return profiles_of(yaml.safe_load(path.read_bytes()))
    except (ConfigurationError, yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise SchedulerConfigRefused(f"{path}: {' '.join(str(error).split())}") from None
