"""Long lists of files are printed in short."""

from worldmodels.workflow.printing import MOST_ALIKE, shorten_command, shorten_files, shorten_message

FILES = [f"run/rollouts/{i:05d}_0000.npz" for i in range(10_000)]
SHORT = "run/rollouts/00000_0000.npz, run/rollouts/00001_0000.npz, ..., run/rollouts/09999_0000.npz (10000 files)"


def test_a_few_files_are_kept():
    assert shorten_files(FILES[:6]) == FILES[:6]


def test_many_files_become_three_and_their_number():
    assert ", ".join(shorten_files(FILES)) == SHORT


def test_files_of_a_command_are_shortened_and_its_flags_kept():
    command = f"python train.py --seed 1 --shards {' '.join(FILES)} --log 'a b.log'"
    assert shorten_command(command) == (
        f"python train.py --seed 1 --shards {FILES[0]} {FILES[1]} ... {FILES[-1]} (10000 files) --log 'a b.log'"
    )


def test_quoted_files_of_a_command_are_shortened():
    files = [f"'my \"run\"/{i:02d}'\\''s.npz'" for i in range(20)]
    command = f"python x.py {' '.join(files)}"
    assert shorten_command(command) == f"python x.py {files[0]} {files[1]} ... {files[-1]} (20 files)"


def test_a_command_without_long_lists_stays_as_it_is():
    for command in (
        "python x.py  --a '1  2'\t--b \"$(dirname 'x y')\" --c \\' 2> log",
        f"python x.py {' '.join(FILES[:MOST_ALIKE])}",
        "it's unfinished",
    ):
        assert shorten_command(command) == command


def test_a_reason_is_shortened_sentence_by_sentence():
    reason = f"Missing output files: {', '.join(FILES)}; Input files updated by another job: {', '.join(FILES)}"
    assert shorten_message(reason) == f"Missing output files: {SHORT}; Input files updated by another job: {SHORT}"


def test_changed_params_in_a_reason_are_kept():
    params = (
        "Params have changed since last execution: before: '--seed 1 --mixture {a: 1, b: 2, c: 3, d: 4, e: 5, f: 6}'"
    )
    reason = f"Missing output files: {', '.join(FILES)}; {params}"
    assert shorten_message(reason) == f"Missing output files: {SHORT}; {params}"


def test_a_command_in_a_message_keeps_its_values():
    values = """--mixture '{"brownian": 0.1, "ou": 0.8, "random": 0.1}' --ou-mean '[0.0, 0.3, -0.2, 0, 0, 0, 0]'"""
    message = f"Command 'set -e; python x.py {values} {' '.join(FILES)} --log x' returned non-zero exit status 1."
    short = f"{FILES[0]} {FILES[1]} ... {FILES[-1]} (10000 files)"
    assert shorten_message(message) == message.replace(" ".join(FILES), short)


def test_lines_that_differ_only_in_numbers_are_shortened():
    message = "\n".join(["Missing files after 5 seconds:", *FILES, "the end"])
    assert shorten_message(message) == "\n".join(
        ["Missing files after 5 seconds:", *FILES[:2], "... (10000 lines like these)", FILES[-1], "the end"]
    )


def test_other_messages_stay_as_they_are():
    for message in (
        "",
        "\n\n",
        "\n" * 20,
        "a, b, c, d, e, f, g, h",
        "Error in rule x:\n  a\n  b",
        "\n".join(FILES[:9]),
    ):
        assert shorten_message(message) == message
