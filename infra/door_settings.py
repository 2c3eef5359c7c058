"""The settings of an API process' door: how much it takes in, how long it waits for clients, how it ends."""

from pydantic import Field
from pydantic_settings import BaseSettings


class DoorSettings(BaseSettings):
    """Inherited by `infra.settings.Settings`; unit, default and reason of each as there."""

    requests_max: int = Field(
        512, ge=1, le=100_000, description="requests under way in an API process; more are refused with 503"
    )
    working_max: int = Field(
        128, ge=1, le=100_000, description="of these, requests worked on at once, which do not wait for a log"
    )
    lag_max_ms: int = Field(
        100,
        ge=1,
        le=10_000,
        description="milliseconds that an API process may be behind its work, twice in a row, before it refuses more",
    )
    connections_max: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="connections of an API process; 0: as many as the limit of open files lets it have, 16,384 at most",
    )
    request_s: int = Field(
        10, ge=1, le=600, description="seconds that a client may take to send a request, or to take its answer"
    )
    idle_s: int = Field(
        75, ge=1, le=3600, description="seconds that a connection is kept without a request; more than the balancer's"
    )
    drain_s: int = Field(
        1,
        ge=0,
        le=300,
        description="seconds that an API process still answers after SIGTERM, not ready: until balancers have noticed",
    )
    process_port: int = Field(
        0,
        ge=0,
        le=65_535,
        description="port of the first API process alone, for its metrics; the others count on from it; 0: none",
    )
