"""Runs the service on a Ray cluster: joins it or starts one, deploys the replicas, ends them."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, replace
from importlib.util import find_spec
from threading import Event, Thread
from typing import Any

from headroom.engine.options import EngineOptions
from headroom.errors import InvalidRequest
from headroom.jobs.schema import open_database
from headroom.log import log
from headroom.service.config import ServiceConfig
from headroom.service.lifeline import GRACE
from headroom.settings import AUTO
from headroom.storage.open import open_storage
from headroom.units import MIB

NAME = "headroom"  # of the application in Serve
WEB_REPLICAS = 4  # at most, each on a machine of its own
_STREAMS = (
    1000  # requests that a web replica answers at the same time; each stream of events is one
)
_OBJECTS = 80 * MIB  # of Ray's shared memory, which is hardly used: nothing goes through it
_STATUS_SECONDS = 5.0
_CONNECT_SECONDS = 10.0
_LOGS = {"enable_access_log": False}
_WITHOUT_CARD = ("cpu", "simulated", "mps")


def of_cluster(config: ServiceConfig) -> ServiceConfig:
    """The configuration as it is on a cluster. Raises InvalidRequest where that cannot be."""
    cluster, settings = config.settings.service_cluster, config.settings
    if find_spec("ray") is None:
        allowed = "left out, as Ray is not installed (pip install 'headroom-audio[cluster]')"
        raise InvalidRequest(settings.spelt("service_cluster"), cluster, allowed)
    if not str(config.database).startswith("postgres"):
        allowed = "postgresql://USER@HOST/NAME: with a cluster every machine has to reach it"
        raise InvalidRequest(settings.spelt("service_database"), str(config.database), allowed)
    if "://" not in str(config.storage):
        allowed = "a URL that begins with s3://, gs:// or az://: with a cluster every machine has "
        allowed += "to reach it"
        raise InvalidRequest(settings.spelt("service_storage"), str(config.storage), allowed)
    if ":" in settings.device or "," in settings.device:
        raise InvalidRequest("device", settings.device, "a kind of card: Ray chooses which")
    if settings.service_cards is not None:
        allowed = "left out with a cluster: Ray gives a card to each engine"
        raise InvalidRequest(settings.spelt("service_cards"), settings.service_cards, allowed)
    # Requests arrive through Serve's proxies.
    return replace(config, trusts_here=False)


class Cluster:
    """The service on a Ray cluster, from `start` to `close`, or within a block.

    Raises InvalidDatabase, InvalidRequest, DatabaseFailed, StorageFailed.
    """

    def __init__(self, config: ServiceConfig, options: EngineOptions) -> None:
        self._config, self._options = config, options
        open_storage(config.storage, config.staging)
        open_database(config.database).close()
        self._over = Event()
        self._thread = Thread(target=self._tell, name="cluster", daemon=True)

    def start(self) -> None:
        """Join the cluster or start one, and deploy. Returns before the replicas have started."""
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        _join(str(self._config.settings.service_cluster))
        serve.start(
            proxy_location="EveryNode",
            http_options={"host": self._config.host, "port": self._config.port},
            logging_config=_LOGS,
        )
        application = deployed(self._config, self._options, room())
        target = serve.RunTarget(application, name=NAME, logging_config=_LOGS)
        serve.run_many([target], wait_for_applications_running=False)
        self._thread.start()

    def close(self) -> None:
        """End all replicas, and Serve if it runs nothing else; a cluster that was joined stays."""
        import ray
        from ray import serve
        from ray.exceptions import RayError

        self._over.set()
        if self._thread.is_alive():
            self._thread.join(GRACE)
        try:
            serve.delete(NAME)
            if not serve.status().applications:
                serve.shutdown()
        except (RayError, TimeoutError) as error:
            log.warning("the cluster: %s", error)
        ray.shutdown()

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _tell(self) -> None:
        """Log what Serve says of replicas that do not start."""
        from ray import serve
        from ray.exceptions import RayError

        last = ""
        while not self._over.wait(_STATUS_SECONDS):
            try:
                application = serve.status().applications[NAME]
                parts = application.deployments.items()
                told = ((name, one.message.partition("\n")[0]) for name, one in parts)
                text = "; ".join(f"{name}: {message}" for name, message in told if message)
            except (RayError, KeyError) as error:
                text = f"{type(error).__name__}"
            if text not in ("", last):
                log.warning("the cluster: %s", text)
            last = text


@dataclass(frozen=True, slots=True)
class Room:
    """What a cluster has: machines, and cards in them."""

    machines: int
    cards: int


def room() -> Room:
    """What the cluster that was joined has now."""
    import ray

    machines = sum(bool(node["Alive"]) for node in ray.nodes())
    return Room(machines, int(ray.cluster_resources().get("GPU", 0)))


def deployed(config: ServiceConfig, options: EngineOptions, room: Room) -> Any:
    """The application for Serve: web replicas, and engines that each have a card to themselves."""
    from ray import serve

    from headroom.service.cluster.replicas import EngineReplica, WebReplica
    from headroom.service.cluster.scaling import engines_wanted

    device = config.settings.device
    cards = device.partition(":")[0] not in _WITHOUT_CARD and (device != AUTO or room.cards > 0)
    usual = max(1, room.cards if cards else room.machines)
    least, most = map(int, (config.settings.service_engines or f"{usual}-{usual}").split("-"))
    number: dict[str, Any] = {"num_replicas": most}
    if least < most:
        policy = {"policy_function": engines_wanted}
        number = {
            "autoscaling_config": {"min_replicas": least, "max_replicas": most, "policy": policy}
        }
    if not cards:  # an engine uses all cores
        number["max_replicas_per_node"] = 1
    engines = serve.deployment(EngineReplica).options(
        name="engines",
        ray_actor_options={"num_cpus": 1, "num_gpus": int(cards)},
        graceful_shutdown_timeout_s=2 * GRACE,
        graceful_shutdown_wait_loop_s=0.1,
        **number,
    )
    web = serve.deployment(serve.ingress()(WebReplica)).options(
        name="web",
        num_replicas=min(room.machines, WEB_REPLICAS),
        max_ongoing_requests=_STREAMS,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=GRACE,
    )
    return web.bind(config, engines.bind(config, options))


def _join(address: str) -> None:
    """Join the cluster at an address. Raises InvalidRequest if none answers there."""
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
    try:
        if address != AUTO:  # Ray asks for minutes where nobody listens
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError) as error:
        if address != AUTO:
            allowed = "auto, or the address of a Ray cluster that answers"
            raise InvalidRequest("cluster", address, allowed) from error
        ray.init(address="local", include_dashboard=False, object_store_memory=_OBJECTS, **quiet)
