"""One error of every class of the tree, by the name of the class."""

from __future__ import annotations

from headroom import errors
from headroom.errors import HeadroomError

MADE: dict[str, HeadroomError] = {
    "HeadroomError": errors.HeadroomError("x"),
    "InvalidInput": errors.InvalidInput("x"),
    "InvalidRequest": errors.InvalidRequest("bpm", -1, "more"),
    "UnreadableFile": errors.UnreadableFile("lyrics", "@a", "is a pipe", "a file"),
    "InvalidFile": errors.InvalidFile("a.json", "is a pipe", missing=True),
    "InvalidSource": errors.InvalidSource("source", "a.wav", "is empty", "sound"),
    "InvalidCheckpoint": errors.InvalidCheckpoint("folder", ["one", "two"]),
    "InvalidOutput": errors.InvalidOutput("output", "a.wav", "is a folder", "a file"),
    "InvalidDatabase": errors.InvalidDatabase("sqlite:///a", "is newer", "an older one"),
    "TooLarge": errors.TooLarge("file", 7),
    "UnknownId": errors.UnknownId("job", "a"),
    "Conflict": errors.Conflict("job", "a", "is running"),
    "QueueFull": errors.QueueFull(7, 7, own=True),
    "StorageFull": errors.StorageFull(1 << 30, 2 << 30),
    "StorageFailed": errors.StorageFailed("no network"),
    "DatabaseFailed": errors.DatabaseFailed("locked"),
    "ServiceFailed": errors.ServiceFailed("http://cellar:8001", "wants a key"),
    "ClaimLost": errors.ClaimLost("a", 2),
    "WorkerLost": errors.WorkerLost(3),
    "WeightsMissing": errors.WeightsMissing("turbo", ["here"], "fetch it"),
    "DownloadFailed": errors.DownloadFailed("no network"),
    "DoesNotFit": errors.DoesNotFit(3 << 30, 2 << 30, "a song", "less"),
    "OutOfMemory": errors.OutOfMemory("decode", 1 << 30, 2),
    "LedgerMismatch": errors.LedgerMismatch(1, 2),
    "RenderFailed": errors.RenderFailed("NaN"),
    "LanguageModelFailed": errors.LanguageModelFailed("lm", "float16", 7, "use bfloat16"),
    "EngineClosed": errors.EngineClosed(),
    "EngineInUse": errors.EngineInUse(),
    "NotSupportedYet": errors.NotSupportedYet("load_lora", "adapters", "version 0.2"),
    "InternalFault": errors.InternalFault("ValueError"),
    "Cancelled": errors.Cancelled("stopped"),
}
