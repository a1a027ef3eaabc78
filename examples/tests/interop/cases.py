"""gRPC's interoperability cases, by the client of Python: cases.py ADDRESS DIRECTORY

DIRECTORY holds the code that grpc_tools generated of the examples' .proto files. Prints a line for each case.
orca_per_rpc is not among them: this client keeps the report to itself.
"""

import sys
import threading
import time
import traceback

import grpc

sys.path.insert(0, sys.argv[2])
from interop import empty_pb2, messages_pb2, test_pb2_grpc  # noqa: E402
from xds.service.orca.v3 import orca_pb2, orca_pb2_grpc  # noqa: E402
from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: E402
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # noqa: E402

REQUESTS, RESPONSES = (27182, 8, 1828, 45904), (31415, 9, 2653, 58979)
INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
ECHO = ((INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab"))


def payload(size):
    return messages_pb2.Payload(body=bytes(size))


def simple(request=271828, response=314159, **more):
    return messages_pb2.SimpleRequest(response_size=response, payload=payload(request), **more)


def output(size, request=0, interval=0, **more):
    parameters = [messages_pb2.ResponseParameters(size=size, interval_us=interval)]
    return messages_pb2.StreamingOutputCallRequest(response_parameters=parameters, payload=payload(request), **more)


def boolean(value):
    return messages_pb2.BoolValue(value=value)


def fails(code, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, (error.code(), error.details())
        return error
    raise AssertionError("it did not fail with %s" % code)


class Pipe:
    """Requests of a stream, given one by one."""

    def __init__(self):
        self.ready, self.requests, self.ended = threading.Condition(), [], False

    def __iter__(self):
        return self

    def __next__(self):
        with self.ready:
            self.ready.wait_for(lambda: self.requests or self.ended)
            if self.requests:
                return self.requests.pop(0)
            raise StopIteration

    def put(self, request):
        with self.ready:
            self.requests.append(request)
            self.ready.notify()

    def end(self):
        with self.ready:
            self.ended = True
            self.ready.notify()


def empty_unary(test):
    assert test.EmptyCall(empty_pb2.Empty()) == empty_pb2.Empty()


def cacheable_unary(test):
    _, call = test.CacheableUnaryCall.with_call(simple(8, 8), metadata=(("x-user-ip", "1.2.3.4"),))
    assert "max-age=60" in dict(call.initial_metadata())["cache-control"]


def pick_first_unary(test):
    request = simple(1, 1, fill_server_id=True)
    assert len({test.UnaryCall(request).server_id for _ in range(100)} - {""}) == 1


def large_unary(test):
    assert len(test.UnaryCall(simple()).payload.body) == 314159


def client_compressed_unary(test):
    probe = simple(expect_compressed=boolean(True))
    fails(grpc.StatusCode.INVALID_ARGUMENT, lambda: test.UnaryCall(probe))
    assert len(test.UnaryCall(probe, compression=grpc.Compression.Gzip).payload.body) == 314159
    plain = simple(expect_compressed=boolean(False))
    assert len(test.UnaryCall(plain).payload.body) == 314159
    fails(grpc.StatusCode.INVALID_ARGUMENT, lambda: test.UnaryCall(plain, compression=grpc.Compression.Gzip))


def server_compressed_unary(test):
    for compressed in (True, False):
        answer = test.UnaryCall(simple(response_compressed=boolean(compressed)))
        assert len(answer.payload.body) == 314159


def client_streaming(test):
    requests = [messages_pb2.StreamingInputCallRequest(payload=payload(size)) for size in REQUESTS]
    assert test.StreamingInputCall(iter(requests)).aggregated_payload_size == sum(REQUESTS)


def client_compressed_streaming(test):
    def requests(expected):
        for size in (27182, 45904):
            yield messages_pb2.StreamingInputCallRequest(payload=payload(size), expect_compressed=boolean(expected))

    fails(grpc.StatusCode.INVALID_ARGUMENT, lambda: test.StreamingInputCall(requests(True)))
    answer = test.StreamingInputCall(requests(True), compression=grpc.Compression.Gzip)
    assert answer.aggregated_payload_size == 73086


def server_streaming(test):
    parameters = [messages_pb2.ResponseParameters(size=size) for size in RESPONSES]
    request = messages_pb2.StreamingOutputCallRequest(response_parameters=parameters)
    assert tuple(len(it.payload.body) for it in test.StreamingOutputCall(request)) == RESPONSES


def server_compressed_streaming(test):
    sizes = ((31415, True), (92653, False))
    parameters = [messages_pb2.ResponseParameters(size=size, compressed=boolean(it)) for size, it in sizes]
    request = messages_pb2.StreamingOutputCallRequest(response_parameters=parameters)
    assert [len(it.payload.body) for it in test.StreamingOutputCall(request)] == [31415, 92653]


def ping_pong(test):
    pipe = Pipe()
    answers = test.FullDuplexCall(pipe)
    for size, wanted in zip(REQUESTS, RESPONSES):
        pipe.put(output(wanted, size))
        assert len(next(answers).payload.body) == wanted
    pipe.end()
    assert list(answers) == []


def half_duplex(test):
    requests = [output(wanted, size) for size, wanted in zip(REQUESTS, RESPONSES)]
    answers = test.HalfDuplexCall(iter(requests))
    assert tuple(len(it.payload.body) for it in answers) == RESPONSES


def empty_stream(test):
    assert list(test.FullDuplexCall(iter(()))) == []


def cancel_after_begin(test):
    pipe = Pipe()
    call = test.StreamingInputCall.future(pipe)
    call.cancel()
    assert call.cancelled() and call.code() == grpc.StatusCode.CANCELLED
    pipe.end()


def cancel_after_first_response(test):
    pipe = Pipe()
    answers = test.FullDuplexCall(pipe)
    pipe.put(output(31415, 27182))
    assert len(next(answers).payload.body) == 31415
    answers.cancel()
    fails(grpc.StatusCode.CANCELLED, lambda: next(answers))
    pipe.end()


def timeout_on_sleeping_server(test):
    pipe = Pipe()
    answers = test.FullDuplexCall(pipe, timeout=0.001)
    pipe.put(output(31415, 27182, interval=10_000_000))
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: next(answers))
    pipe.end()


def deadline_ends_a_stream(test):
    """The server's own word: a deadline that this client does not keep itself."""
    request = output(1, interval=30_000_000)
    begun = time.monotonic()
    metadata = (("grpc-timeout", "300m"),)
    fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: next(test.StreamingOutputCall(request, metadata=metadata)))
    assert time.monotonic() - begun < 10


def custom_metadata(test):
    _, call = test.UnaryCall.with_call(simple(), metadata=ECHO)
    echoed(call)
    pipe = Pipe()
    answers = test.FullDuplexCall(pipe, metadata=ECHO)
    pipe.put(output(314159, 271828))
    next(answers)
    pipe.end()
    assert list(answers) == []
    echoed(answers)


def echoed(call):
    assert call.code() == grpc.StatusCode.OK
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert initial.get(INITIAL) == "test_initial_metadata_value", initial
    assert trailing.get(TRAILING) == b"\xab\xab\xab", trailing


def status_code_and_message(test):
    echo("test status message", test)


def special_status_message(test):
    echo("\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n", test)


def echo(message, test):
    status = messages_pb2.EchoStatus(code=2, message=message)
    error = fails(grpc.StatusCode.UNKNOWN, lambda: test.UnaryCall(simple(0, 0, response_status=status)))
    assert error.details() == message
    request = messages_pb2.StreamingOutputCallRequest(response_status=status)
    error = fails(grpc.StatusCode.UNKNOWN, lambda: list(test.FullDuplexCall(iter([request]))))
    assert error.details() == message


def unimplemented_method(test):
    fails(grpc.StatusCode.UNIMPLEMENTED, lambda: test.UnimplementedCall(empty_pb2.Empty()))


def unimplemented_service(_):
    stub = test_pb2_grpc.UnimplementedServiceStub(channel)
    fails(grpc.StatusCode.UNIMPLEMENTED, lambda: stub.UnimplementedCall(empty_pb2.Empty()))


def orca_oob(test):
    report = messages_pb2.TestOrcaReport(cpu_utilization=0.8210, memory_utilization=0.5847)
    list(test.FullDuplexCall(iter([output(1, orca_oob_report=report)])))
    request = orca_pb2.OrcaLoadReportRequest()
    request.report_interval.FromMilliseconds(100)
    reports = orca_pb2_grpc.OpenRcaServiceStub(channel).StreamCoreMetrics(request)
    for told, _ in zip(reports, range(2)):
        assert (told.cpu_utilization, told.mem_utilization) == (0.8210, 0.5847)
    reports.cancel()


def concurrent_large_unary(test):
    calls = [test.UnaryCall.future(simple(4096, 4096)) for _ in range(500)]
    assert all(len(call.result().payload.body) == 4096 for call in calls)


def health_check(_):
    health = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    unknown = health_pb2.HealthCheckRequest(service="nobody")
    fails(grpc.StatusCode.NOT_FOUND, lambda: health.Check(unknown))


def health_watch_unknown(_):
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="nobody"))
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def reflection(_):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(stub.ServerReflectionInfo(iter([request])))
    names = {service.name for service in answer.list_services_response.service}
    assert {"grpc.testing.TestService", "grpc.health.v1.Health"} <= names, names


CASES = [
    empty_unary, cacheable_unary, pick_first_unary, large_unary, client_compressed_unary, server_compressed_unary, client_streaming,
    client_compressed_streaming, server_streaming, server_compressed_streaming, ping_pong, half_duplex, empty_stream,
    cancel_after_begin, cancel_after_first_response, timeout_on_sleeping_server, deadline_ends_a_stream,
    custom_metadata, status_code_and_message, special_status_message, unimplemented_method, unimplemented_service,
    orca_oob, concurrent_large_unary, health_check, health_watch_unknown, reflection,
]

channel = grpc.insecure_channel(sys.argv[1])
failed = 0
for case in CASES:
    try:
        case(test_pb2_grpc.TestServiceStub(channel))
        print("ok", case.__name__)
    except Exception:
        failed += 1
        print("FAILED", case.__name__)
        traceback.print_exc(file=sys.stdout)
channel.close()
print("%d of %d cases passed" % (len(CASES) - failed, len(CASES)))
sys.exit(failed > 0)
