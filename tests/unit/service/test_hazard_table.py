"""What services for music models got wrong, and the tests that hold it to be right here."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
_HERE, _HAZARDS, _JOBS = "unit/service", "unit/service/test_hazards.py", "unit/service/test_jobs.py"
_REST, _CHAT = "compat/test_rest_documented.py", "compat/test_chat.py"

HELD: dict[str, tuple[tuple[str, str], ...]] = {
    # What an attacker could do
    "any file of the server as audio": (
        (_HAZARDS, "test_no_path_of_the_server_is_taken_as_a_file"),
        ("unit/service/test_maker.py", "test_a_path_is_no_file_of_the_service"),
    ),
    "a song by its path, for every key": (
        (_REST, "test_a_path_of_the_server_leads_to_no_sound"),
        (f"{_HERE}/test_two_keys.py", "test_another_key_learns_and_changes_nothing_on_any_route"),
    ),
    "a format that becomes part of a path": (
        (_HAZARDS, "test_an_unknown_format_of_audio_is_refused_at_the_door"),
    ),
    "a file sent to a third party": (
        (f"{_HERE}/test_hazard_table.py", "test_the_web_process_can_call_nobody"),
    ),
    "a way past the key": (
        (_HAZARDS, "test_a_key_is_needed_everywhere_but_for_life"),
        (_HAZARDS, "test_a_key_in_the_settings_is_needed_on_this_machine_too"),
        (_HAZARDS, "test_a_key_works_in_a_header_and_nowhere_else"),
        (_REST, "test_a_key_in_a_header_or_in_the_body"),
        (_CHAT, "test_no_key_no_song_and_no_list_of_models"),
    ),
    "an upload without end, and one that is a bomb": (
        (_HAZARDS, "test_a_body_is_cut_off_at_its_limit"),
        (_HAZARDS, "test_a_larger_upload_leaves_nothing"),
        (f"{_HERE}/test_broken_uploads.py",
         "test_what_is_no_sound_is_refused_and_leaves_nothing"),
        ("unit/storage/test_probe.py", "test_a_decoder_that_loops_costs_its_time_limit"),
    ),
    "a request that trickles": (
        (f"{_HERE}/test_slow_callers.py", "test_headers_that_trickle_are_not_waited_for"),
        (f"{_HERE}/test_slow_callers.py",
         "test_a_body_that_trickles_is_answered_and_the_connection_ends"),
    ),
    "numbers without bounds, and a job without end": (
        (_HAZARDS, "test_nonsense_is_refused_with_field_value_and_what_is_allowed"),
        (_JOBS, "test_the_clamped_numbers_of_a_request_are_accepted_as_asked"),
        ("unit/service/test_maker.py", "test_a_job_is_stopped_at_its_deadline"),
        ("e2e/test_service.py",
         "test_a_song_is_cancelled_within_a_step_and_its_bytes_are_given_back"),
    ),
    "a disk that fills up": (
        (_HAZARDS, "test_a_full_disk_accepts_nothing"),
        ("unit/jobs/test_files.py", "test_above_the_quota_the_oldest_go"),
        ("unit/jobs/test_files.py", "test_uploads_that_no_job_uses_expire"),
    ),
    "one caller who fills the queue": (
        (_HAZARDS, "test_one_key_cannot_fill_the_queue"),
        ("unit/jobs/test_worker.py", "test_keys_take_turns_whoever_came_first"),
    ),
    "tracebacks, paths and the lines of others in answers": (
        (_HAZARDS, "test_a_fault_tells_its_number_and_nothing_else"),
        (_HAZARDS, "test_no_path_of_the_server_is_shown"),
        (_HAZARDS, "test_an_error_about_the_server_does_not_tell_where_things_are"),
    ),
    "weights that run code": (
        ("unit/weights/test_load.py", "test_pickled_weights_are_no_weights"),
    ),
    "code from a model's repository": (
        ("unit/weights/test_fetch.py", "test_no_code_and_nothing_from_elsewhere_in_the_repository"),
    ),
    "pickled data from others": (
        (f"{_HERE}/test_hazard_table.py", "test_only_what_our_own_processes_send_is_unpickled"),
    ),
    "a service that others reach without a key": (
        ("unit/cli/test_serve.py", "test_a_service_that_others_reach_gets_a_key_once"),
    ),
    "pages of others in a browser": (
        (_HAZARDS, "test_no_page_may_read_unless_its_origin_is_listed"),
        (_HAZARDS, "test_a_page_of_another_origin_changes_nothing"),
        (_HAZARDS, "test_a_name_that_leads_here_does_not_open_the_service"),
        (_HAZARDS, "test_without_a_key_only_json_changes_something"),
    ),
    "proxies that are taken away": (
        ("unit/weights/test_client.py", "test_proxies_of_the_environment_are_used"),
    ),
    "words and keys in logs": ((_HAZARDS, "test_keys_and_texts_are_in_no_log"),),
    "an adapter from any folder": ((_REST, "test_adapters_come_with_a_later_version"),),
    # What went wrong without anybody's will
    "forms and files that are answered with a fault": (
        (_HAZARDS, "test_a_broken_upload_is_a_sentence_and_leaves_nothing"),
        (_REST, "test_the_lines_ask_for_what_they_say"),
    ),
    "a seed that is not used, or drawn twice": (
        ("unit/models/acestep/test_old_rest.py",
         "test_a_seed_is_in_force_unless_random_ones_are_asked_for"),
        (_CHAT, "test_a_seed_reaches_the_request"),
        (_JOBS, "test_a_replay_asks_for_what_was_carried_out"),
    ),
    "fields that are dropped without a word": (
        (_REST, "test_notes_reach_who_asks_and_who_polls"),
        (_CHAT, "test_what_is_not_honoured_is_refused_by_name"),
    ),
    "two lists of models under one path": (
        (_CHAT, "test_models_read_well_for_clients_of_all_three_kinds"),
    ),
    "an error that never reaches who asked": (
        ("unit/jobs/test_worker.py", "test_a_failure_keeps_its_error"),
        (_CHAT, "test_a_job_that_fails_is_an_error_without_a_traceback"),
    ),
    "ghosts of what a full queue refused": (
        (_HAZARDS, "test_a_full_queue_says_when_to_come_back_and_keeps_nothing"),
        (_CHAT, "test_a_full_queue_is_a_rate_limit_and_leaves_nothing"),
    ),
    "no cancel, no delete, no list, ids that are asked for ever": (
        (_JOBS, "test_cancel_and_delete"),
        (_JOBS, "test_jobs_are_listed_from_the_newest_with_a_cursor"),
        (_JOBS, "test_asking_twice_with_one_key_is_one_job"),
        (_REST, "test_an_unknown_task_is_told_as_such"),
    ),
    "JSON that is answered with a fault": (
        (_HAZARDS, "test_a_body_that_is_no_object_is_a_sentence"),
        (f"{_HERE}/test_openapi_fuzz.py",
         "test_every_answer_is_as_the_document_says_and_none_is_a_fault"),
    ),
    "one song that holds up every other answer": (
        (f"{_HERE}/test_looks.py", "test_all_who_follow_are_served_by_one_look"),
        (f"{_HERE}/test_looks.py", "test_a_poll_is_one_statement"),
    ),
    "an answer that ends with the process": (
        ("e2e/test_service.py", "test_a_stream_goes_on_behind_a_restart_and_ends_with_the_song"),
        ("e2e/test_service.py", "test_a_song_is_made_while_the_engine_process_is_killed"),
    ),
}  # fmt: skip


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("hazard", HELD)
def test_the_tests_of_a_hazard_are_there(hazard: str) -> None:
    assert HELD[hazard]
    for file, name in HELD[hazard]:
        assert name in functions(TESTS / file), (file, name)


def test_the_web_process_can_call_nobody() -> None:
    clients = (
        "httpx",
        "httpx2",
        "requests",
        "aiohttp",
        "urllib3",
        "openai",
        "headroom.weights.client",
    )
    code = f"""
import sys
import headroom.service.web_process
print([name for name in {clients!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_what_our_own_processes_send_is_unpickled() -> None:
    package = TESTS.parent / "src" / "headroom"
    files = [
        one for part in ("service", "jobs", "storage") for one in (package / part).rglob("*.py")
    ]
    users: list[str] = []
    for file in sorted(files):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = getattr(node, "module", None)
                names = {module, *(alias.name for alias in node.names)}
                users += [file.name] if names & {"pickle", "shelve", "marshal", "dill"} else []
    assert users == ["lifeline.py", "machine.py"]  # both by pipes
