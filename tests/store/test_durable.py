"""What every change of a server rests on: all or nothing, alone, on disk, and a clear word when it fails."""

import asyncio
import os
import resource
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pysqlite3
import pytest
import sqlalchemy.exc
from sqlalchemy import text

from durable import (
    AsyncDatabase,
    DatabaseConfigurationError,
    DatabaseDamagedError,
    DatabaseUnavailableError,
    open_database,
)
from durable.database import MAX_WAITING

ROOT = Path(__file__).parent.parent.parent
STOP_INSIDE = """
import sys, time
from sqlalchemy import text
from durable import open_database

def change(connection):
    connection.execute(text("INSERT INTO purse VALUES ('eve', 9)"))
    print("inside", flush=True)
    time.sleep(60)

open_database(sys.argv[1]).write(change)
"""
FILL_THE_DISK = """
import resource, sys
from sqlalchemy import text
from durable import DatabaseUnavailableError, open_database

def add(connection, owner, size):
    row = {"owner": owner, "size": size}
    connection.execute(text("INSERT INTO purse VALUES (:owner, zeroblob(:size))"), row)

database = open_database(sys.argv[1], create=True)
database.write(lambda c: c.execute(text("CREATE TABLE purse (owner TEXT PRIMARY KEY, coins BLOB)")))
database.write(lambda c: add(c, "ann", 1))
# Python ignores SIGXFSZ, so that the limit shows as a failing write.
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    database.write(lambda c: [add(c, str(number), 10_000) for number in range(100)])
except DatabaseUnavailableError as error:
    print(error)
database.write(lambda c: add(c, "bob", 1))
"""


class OfferWithdrawnError(Exception):
    """What the market's own rules raise."""


@pytest.fixture
def purse(database):
    """A database with one table: who holds how much."""
    database.write(lambda c: c.execute(text("CREATE TABLE purse (owner TEXT PRIMARY KEY, coins INTEGER)")))
    put(database, "ann", 0)
    return database


def put(database, owner, coins):
    database.write(
        lambda c: c.execute(
            text("INSERT INTO purse VALUES (:owner, :coins)"), {"owner": owner, "coins": coins}
        )
    )


def coins_of(connection, owner="ann"):
    return connection.execute(text("SELECT coins FROM purse WHERE owner = :owner"), {"owner": owner}).scalar()


def set_coins(connection, coins, owner="ann"):
    connection.execute(
        text("UPDATE purse SET coins = :coins WHERE owner = :owner"), {"coins": coins, "owner": owner}
    )


def owners(connection):
    return connection.execute(text("SELECT owner FROM purse ORDER BY owner")).scalars().all()


def test_a_change_that_fails_leaves_nothing(purse):
    def change(connection):
        set_coins(connection, 7)
        raise OfferWithdrawnError

    with pytest.raises(OfferWithdrawnError):
        purse.write(change)
    assert purse.read(coins_of) == 0


def test_what_was_written_is_there_for_whoever_opens_the_database_next(purse, database_url):
    purse.write(lambda c: set_coins(c, 7))
    other = open_database(database_url)
    assert other.read(coins_of) == 7
    other.close()


def test_a_reader_cannot_change_anything(purse):
    with pytest.raises(DatabaseUnavailableError):
        purse.read(lambda c: set_coins(c, 7))
    assert purse.read(coins_of) == 0


def test_a_reader_sees_one_moment(purse):
    def look(connection):
        before = coins_of(connection)
        thread = threading.Thread(target=lambda: purse.write(lambda c: set_coins(c, 7)))
        thread.start()
        thread.join()
        return before, coins_of(connection)

    assert purse.read(look) == (0, 0)
    assert purse.read(coins_of) == 7


def test_changes_of_many_threads_follow_one_another(purse):
    with ThreadPoolExecutor(32) as threads:
        for done in [
            threads.submit(lambda: purse.write(lambda c: set_coins(c, coins_of(c) + 1))) for _ in range(64)
        ]:
            done.result()
    assert purse.read(coins_of) == 64


def test_two_who_each_look_before_they_leap_do_not_both_leap(purse):
    """Write skew: each reads both purses and empties its own; alone, the second would have seen the first."""
    put(purse, "bob", 1)

    def leave_one_coin(owner):
        def change(connection):
            total = coins_of(connection, "ann") + coins_of(connection, "bob")
            time.sleep(0.01)
            if total > 1:
                set_coins(connection, 0, owner)

        purse.write(change)

    for _ in range(5):
        for owner in ("ann", "bob"):
            purse.write(lambda c, owner=owner: set_coins(c, 1, owner))
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(leave_one_coin, ("ann", "bob")))
        assert sum(purse.read(lambda c: (coins_of(c, "ann"), coins_of(c, "bob")))) == 1


def test_a_change_runs_once_and_sees_what_was_committed_while_it_waited(purse):
    """A first writer holds its turn until the second waits for it; the second must see the first's coins."""
    inside, runs = threading.Event(), []

    def first(connection):
        inside.set()
        time.sleep(0.1)
        set_coins(connection, 7)

    def second(connection):
        runs.append(coins_of(connection))

    with ThreadPoolExecutor(2) as threads:
        ahead = threads.submit(purse.write, first)
        inside.wait(10)
        behind = threads.submit(purse.write, second)
        ahead.result()
        behind.result()
    assert runs == [7]


def test_readers_wait_for_no_writer(purse):
    inside, go_on = threading.Event(), threading.Event()

    def change(connection):
        set_coins(connection, 7)
        inside.set()
        go_on.wait(10)

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(purse.write, change)
        inside.wait(10)
        assert purse.read(coins_of) == 0
        go_on.set()
        writing.result()
    assert purse.read(coins_of) == 7


def test_a_key_that_is_taken_is_the_callers_affair(purse):
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        put(purse, "ann", 3)
    assert purse.read(coins_of) == 0


def test_who_holds_a_lock_of_its_own_works_apart_and_is_seen_by_the_next(purse):
    inside = []

    def add(connection):
        inside.append(1)
        assert len(inside) == 1
        set_coins(connection, coins_of(connection) + 1)
        inside.pop()

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(lambda: purse.write_apart(4711, add)) for _ in range(16)]:
            done.result()
    assert purse.read(coins_of) == 16


def test_a_killed_process_leaves_nothing_of_its_change_and_no_lock(purse, database_url):
    process = subprocess.Popen(
        [sys.executable, "-c", STOP_INSIDE, database_url], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout.readline() == "inside\n"
    process.kill()
    process.wait()
    process.stdout.close()
    put(purse, "bob", 1)
    assert purse.read(owners) == ["ann", "bob"]
    purse.check()


def test_a_database_that_is_away_says_so_and_comes_back(purse, database_url):
    if purse.dialect == "sqlite":
        path = Path(database_url.removeprefix("sqlite:///"))
        purse.close()
        path.rename(path.with_name("away"))
        path.mkdir()
        with pytest.raises(DatabaseUnavailableError):
            purse.write(lambda c: set_coins(c, 7))
        path.rmdir()
        path.with_name("away").rename(path)
    else:

        def cut_off(connection):
            set_coins(connection, 7)
            with psycopg.connect(database_url, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            set_coins(connection, 8)

        with pytest.raises(DatabaseUnavailableError):
            purse.write(cut_off)
    assert purse.read(coins_of) == 0
    purse.write(lambda c: set_coins(c, 9))
    assert purse.read(coins_of) == 9


def test_an_address_where_nobody_listens_is_unavailable(tmp_path):
    database = open_database(f"postgresql://postgres@/postgres?host={tmp_path}")
    with pytest.raises(DatabaseUnavailableError, match="out of reach"):
        database.check()
    database.close()


def test_a_full_disk_keeps_what_was_there_and_nothing_of_the_change(tmp_path):
    path = tmp_path / "market.db"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, f"sqlite:///{path}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert "nothing was changed" in done.stdout
    database = open_database(f"sqlite:///{path}")
    database.check()
    assert database.read(owners) == ["ann", "bob"]
    database.close()


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "market.db"
    database = open_database(f"sqlite:///{path}", create=True)
    database.write(lambda c: c.execute(text("CREATE TABLE purse (owner TEXT PRIMARY KEY, coins INTEGER)")))
    for number in range(200):
        put(database, f"owner {number}", number)
    database.check()
    database.close()
    data = bytearray(path.read_bytes())
    data[4096 : 4096 + 2048] = os.urandom(2048)
    path.write_bytes(data)
    with pytest.raises(DatabaseDamagedError, match="restore"):
        database.check()
    path.write_bytes(b"this is no database " * 100)
    with pytest.raises(DatabaseDamagedError):
        database.read(owners)
    database.close()


def test_a_broken_foreign_key_is_damage(tmp_path):
    database = open_database(f"sqlite:///{tmp_path / 'market.db'}", create=True)

    def change(connection):
        connection.execute(text("CREATE TABLE owner (name TEXT PRIMARY KEY)"))
        connection.execute(text("CREATE TABLE purse (owner TEXT REFERENCES owner (name))"))

    database.write(change)
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        database.write(lambda c: c.execute(text("INSERT INTO purse VALUES ('nobody')")))
    database.close()
    careless = pysqlite3.connect(str(tmp_path / "market.db"))
    careless.execute("INSERT INTO purse VALUES ('nobody')")
    careless.commit()
    careless.close()
    with pytest.raises(DatabaseDamagedError):
        database.check()
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file.db?mode=memory",
        "mysql://somebody@somewhere/market",
        "postgresql+asyncpg://somebody@somewhere/market",
    ],
)
def test_an_address_of_another_form_is_refused(url):
    with pytest.raises(DatabaseConfigurationError):
        open_database(url, create=True)


def test_a_missing_file_is_not_made_by_serving(tmp_path):
    with pytest.raises(DatabaseConfigurationError, match="create it first"):
        open_database(f"sqlite:///{tmp_path / 'market.db'}")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DatabaseUnavailableError, match="folder"):
        open_database(f"sqlite:///{tmp_path / 'nowhere' / 'market.db'}", create=True)


def test_a_new_file_is_for_its_owner_alone(tmp_path):
    open_database(f"sqlite:///{tmp_path / 'market.db'}", create=True).close()
    assert (tmp_path / "market.db").stat().st_mode & 0o077 == 0


def test_sqlite_runs_with_the_settings_that_the_promise_needs(tmp_path):
    database = open_database(f"sqlite:///{tmp_path / 'market.db'}", create=True)
    settings = database.write(
        lambda c: [
            c.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers")
        ]
    )
    assert settings == ["wal", 2, 1, 1]
    database.close()


async def test_an_event_loop_waits_for_changes_without_standing_still(purse):
    threads = AsyncDatabase(purse)
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    beating = asyncio.create_task(beat())
    await asyncio.gather(
        *(threads.write(lambda c: set_coins(c, coins_of(c) + 1)) for _ in range(20)),
        *(threads.read(coins_of) for _ in range(20)),
    )
    beating.cancel()
    assert beats > 20
    assert await threads.read(coins_of) == 20
    threads.close()


async def test_a_cancelled_call_still_ends_what_it_began(purse):
    threads = AsyncDatabase(purse)
    begun, go_on = threading.Event(), threading.Event()

    def change(connection):
        begun.set()
        go_on.wait(10)
        set_coins(connection, 7)

    call = asyncio.create_task(threads.write(change))
    await asyncio.to_thread(begun.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()
    threads.close()
    assert purse.read(coins_of) == 7


async def test_too_many_waiting_calls_are_turned_away(tmp_path):
    database = open_database(f"sqlite:///{tmp_path / 'market.db'}", create=True)
    threads = AsyncDatabase(database)
    go_on = threading.Event()
    calls = [asyncio.ensure_future(threads.write(lambda _: go_on.wait(30))) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailableError, match="too many"):
        await threads.read(lambda _: None)
    go_on.set()
    await asyncio.gather(*calls)
    assert await threads.read(lambda _: "served") == "served"
    threads.close()
