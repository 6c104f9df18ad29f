#!/usr/bin/env python3
"""A tour of spandrel.v1 from Python: python3 docs/python/client.py [HOST:PORT]

Needs grpcio and grpcio-tools; shows health, reflection and error details too where
grpcio-health-checking, grpcio-reflection and grpcio-status are installed. The stubs are made from
proto/proto when the program starts, so nothing is generated into the repository.

It initialises the cluster if need be, and works on a table of its own, python_accounts. Every answer
is checked; the last line is "ok". docs/grpc.md has the flows and what each error asks for.
"""

import sys
import time
from pathlib import Path

import grpc

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "proto" / "proto"))
api, services = grpc.protos_and_services("spandrel/v1/spandrel.proto")
cluster = grpc.protos("spandrel/v1/cluster.proto")
errors = grpc.protos("spandrel/v1/error.proto")
tables = grpc.protos("spandrel/v1/table.proto")
transactions = grpc.protos("spandrel/v1/transaction.proto")
values = grpc.protos("spandrel/v1/value.proto")

SERVICE = "spandrel.v1.Spandrel"
TABLE = "python_accounts"
# How long one call may take, and how long a request that may be repeated is repeated, in seconds.
CALL_TIMEOUT = 10
REPEAT_FOR = 30


def detail_of(error):
    """The ErrorDetail of a failed call, or None: a proxy's error has none, and without grpcio-status it
    cannot be read."""
    try:
        from grpc_status import rpc_status
    except ImportError:
        return None
    status = rpc_status.from_call(error)
    for packed in status.details if status else []:
        detail = errors.ErrorDetail()
        if packed.Unpack(detail):
            return detail
    return None


def may_be_repeated(error):
    detail = detail_of(error)
    if detail is None:
        return error.code() == grpc.StatusCode.UNAVAILABLE
    return detail.retry == errors.RETRY_REQUEST


def call(method, request):
    """One unary call, repeated while the server says that this is safe. Only for requests that may be
    executed twice: a commit of a transaction that began is looked up instead."""
    deadline = time.monotonic() + REPEAT_FOR
    while True:
        try:
            return method(request, timeout=CALL_TIMEOUT)
        except grpc.RpcError as error:
            if not may_be_repeated(error) or time.monotonic() >= deadline:
                raise
        time.sleep(0.1)


def row_key(*parts):
    return values.RowKey(values=[values.Value(bigint=part) for part in parts])


def account(number, owner, balance):
    return values.RowValues(
        values=[values.Value(bigint=number), values.Value(text=owner), values.Value(bigint=balance)]
    )


def write(columns, rows):
    return transactions.Write(table=transactions.TableRef(name=TABLE), columns=columns, rows=rows)


def read(spandrel, selector, numbers, lock=transactions.LOCK_MODE_SHARED):
    """The balances of some accounts. An answer may come in chunks; rows come in the order asked."""
    request = transactions.ReadRequest(
        transaction=selector,
        table=transactions.TableRef(name=TABLE),
        columns=["balance"],
        keys=values.KeySet(points=[row_key(number) for number in numbers]),
        lock=lock,
    )
    rows = [row for chunk in spandrel.Read(request, timeout=CALL_TIMEOUT) for row in chunk.rows]
    assert len(rows) == len(numbers), rows
    assert all(row.commit_timestamp for row in rows), "every account exists"
    return [row.values[0].bigint for row in rows]


def check_health(channel):
    try:
        from grpc_health.v1 import health_pb2, health_pb2_grpc
    except ImportError:
        return "not checked: grpcio-health-checking is absent"
    health = health_pb2_grpc.HealthStub(channel)
    deadline = time.monotonic() + REPEAT_FOR
    while True:
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=CALL_TIMEOUT)
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return "serving"
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)


def check_reflection(channel):
    """Version 1 of the protocol. The package has the messages of v1alpha, which are the same."""
    try:
        from grpc_reflection.v1alpha import reflection_pb2
    except ImportError:
        return "not checked: grpcio-reflection is absent"
    ask = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]
    listed, described = ask(iter(requests), timeout=CALL_TIMEOUT)
    found = [service.name for service in listed.list_services_response.service]
    assert SERVICE in found, found
    assert described.file_descriptor_response.file_descriptor_proto, described
    return ", ".join(sorted(found))


def create_table(spandrel):
    column = tables.Column
    table = tables.Table(
        name=TABLE,
        columns=[
            column(name="id", type=tables.COLUMN_TYPE_BIGINT),
            column(name="owner", type=tables.COLUMN_TYPE_TEXT),
            column(name="balance", type=tables.COLUMN_TYPE_BIGINT, not_null=True),
        ],
        primary_key=["id"],
    )
    # Two shards: accounts below 50, and the others.
    split = tables.SplitEvenly(shards=2, **{"from": 0, "to": 100})
    request = tables.CreateTableRequest(table=table, split_evenly=split, if_not_exists=True)
    return call(spandrel.CreateTable, request).table


def commit_at_once(spandrel, mutations, numbers):
    """A commit without reads. Its id and coordinator key are resolved once and kept, so that it can be
    sent again, to any node, and is executed once."""
    keys = [row_key(number) for number in numbers]
    written = transactions.WrittenKeys(table=transactions.TableRef(name=TABLE), keys=keys)
    resolved = call(spandrel.ResolveCommit, transactions.ResolveCommitRequest(writes=[written]))
    single_use = transactions.SingleUseCommit(
        id=resolved.transaction, coordinator_key=resolved.coordinator_key
    )
    return transactions.CommitRequest(single_use=single_use, mutations=mutations)


def transfer(spandrel, table, amount, payer, payee):
    """A read-write transaction, call by call. Returns the timestamp that its lookup finds."""
    options = transactions.TransactionOptions(read_write=transactions.ReadWriteOptions())
    begun = call(spandrel.Begin, transactions.BeginRequest(options=options)).transaction
    selector = transactions.TransactionSelector(id=begun)
    paying, paid = read(spandrel, selector, [payer, payee], transactions.LOCK_MODE_FOR_UPDATE)
    balances = {payer: paying - amount, payee: paid + amount}
    rows = [
        values.RowValues(values=[values.Value(bigint=number), values.Value(bigint=balance)])
        for number, balance in balances.items()
    ]
    update = transactions.Mutation(update=write(["id", "balance"], rows))
    # Sent once: were the answer lost, the lookup below would tell what became of it.
    request = transactions.CommitRequest(id=begun, mutations=[update])
    committed = spandrel.Commit(request, timeout=CALL_TIMEOUT)

    keys = [row_key(number) for number in balances]
    written = transactions.WrittenKeys(table=transactions.TableRef(id=table.id), keys=keys)
    resolve = transactions.ResolveCommitRequest(writes=[written], transaction=begun)
    coordinator_key = call(spandrel.ResolveCommit, resolve).coordinator_key
    lookup = transactions.LookupOutcomeRequest(transaction=begun, coordinator_key=coordinator_key)
    outcome = call(spandrel.LookupOutcome, lookup)
    assert outcome.outcome == transactions.OUTCOME_COMMITTED, outcome
    assert outcome.commit_timestamp == committed.commit_timestamp, (outcome, committed)
    return outcome.commit_timestamp


def insert_existing(spandrel):
    """What an error looks like."""
    insert = transactions.Mutation(
        insert=write(["id", "owner", "balance"], [account(1, "ada", 0)])
    )
    try:
        spandrel.Commit(commit_at_once(spandrel, [insert], [1]), timeout=CALL_TIMEOUT)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.ALREADY_EXISTS, error
        detail = detail_of(error)
        if detail is None:
            return f"{error.code().name}, details not read: grpcio-status is absent"
        assert detail.kind == errors.ERROR_KIND_ROW_EXISTS, detail
        return f"{error.code().name}, {errors.ErrorKind.Name(detail.kind)}"
    raise AssertionError("account 1 was inserted twice")


def main(address):
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=REPEAT_FOR)
        spandrel = services.SpandrelStub(channel)
        initialised = call(spandrel.Init, cluster.InitRequest())
        print(f"cluster {initialised.cluster_id.hex()} of {len(initialised.nodes)} nodes")
        print("health:", check_health(channel))
        print("reflection:", check_reflection(channel))
        table = create_table(spandrel)
        print(f"table {table.name} has id {table.id}")

        rows = [account(1, "ada", 100), account(60, "grace", 20)]
        accounts = transactions.Mutation(replace=write(["id", "owner", "balance"], rows))
        request = commit_at_once(spandrel, [accounts], [1, 60])
        first = call(spandrel.Commit, request).commit_timestamp
        again = call(spandrel.Commit, request).commit_timestamp
        assert first == again, "a repeated commit is answered as the first time"
        print(f"two accounts on two shards committed at {first}")

        moved = transfer(spandrel, table, 25, payer=1, payee=60)
        assert moved > first, (first, moved)
        print(f"transfer committed at {moved}")

        strong = transactions.TransactionSelector(
            single_use=transactions.ReadOnlyOptions(strong=True)
        )
        before = transactions.TransactionSelector(
            single_use=transactions.ReadOnlyOptions(exact_timestamp=first)
        )
        assert read(spandrel, strong, [1, 60]) == [75, 45]
        assert read(spandrel, before, [1, 60]) == [100, 20]
        print("balances are 75 and 45, and were 100 and 20")
        print("inserting account 1 again:", insert_existing(spandrel))
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7420")
