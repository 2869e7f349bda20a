"""Which module opens which kind of source; each is imported when it is needed."""

from edge_agent import source_tables as tables
from edge_agent.config import LoadedConfig
from edge_agent.sources.source import Source


def open_source(loaded: LoadedConfig, index: int) -> Source:  # noqa: PLR0911 - one for each kind
    """Open a source of the configuration.

    Raises: ConfigError: what it names is not there, or the library that it needs. ArtifactRefused:
        it cannot be used.
    """
    table = loaded.config.source[index]
    match table:
        case tables.Replay():
            from edge_agent.sources.replay import open_replay

            return open_replay(loaded, index, table)
        case tables.Mqtt():
            from edge_agent.sources.mqtt import open_mqtt

            return open_mqtt(loaded, index, table)
        case tables.Host():
            from edge_agent.sources.host import open_host

            return open_host(loaded, index, table)
        case tables.Hwmon():
            from edge_agent.sources.hwmon import open_hwmon

            return open_hwmon(loaded, index, table)
        case tables.Iio():
            from edge_agent.sources.iio import open_iio

            return open_iio(loaded, index, table)
        case tables.Serial():
            from edge_agent.sources.serial_line import open_serial

            return open_serial(loaded, index, table)
        case tables.Mpu6050():
            from edge_agent.sources.mpu6050 import open_mpu6050

            return open_mpu6050(loaded, index, table)
        case tables.Microphone():
            from edge_agent.sources.microphone import open_microphone

            return open_microphone(loaded, index, table)
        case tables.Camera():
            from edge_agent.sources.camera import open_camera

            return open_camera(loaded, index, table)
