%% The local benchmarks in Erlang: plain processes, tuples and integers, selective receive with a fresh reference where an answer is awaited.
%%
%% erl -noshell -run bench main NAME N: prints one line of JSON, see ../../README.md.
-module(bench).
-export([main/1]).

-define(OPTS, [{min_heap_size, 233}]).

main([Name, N0]) ->
    N = list_to_integer(N0),
    process_flag(message_queue_data, off_heap),
    Start = erlang:monotonic_time(nanosecond),
    Result = run(list_to_atom(Name), N),
    Seconds = (erlang:monotonic_time(nanosecond) - Start) / 1.0e9,
    case Result of
        {bytes, Bytes} -> io:format("{\"name\":\"~s\",\"n\":~b,\"bytes_per_actor\":~.1f,\"seconds\":~.6f}~n", [Name, N, Bytes / N, Seconds]);
        {Unit, Units} -> io:format("{\"name\":\"~s\",\"n\":~b,\"units\":~b,\"unit\":\"~s\",\"seconds\":~.6f}~n", [Name, N, Units, Unit, Seconds])
    end,
    erlang:halt(0);
main(_) ->
    io:format(standard_error, "usage: bench NAME N~n", []),
    erlang:halt(2).

start(F) -> spawn_opt(F, ?OPTS).

%% ---- pingpong ----
run(pingpong, N) ->
    Main = self(),
    A = start(fun() -> player(Main) end),
    B = start(fun() -> player(Main) end),
    B ! {A, 2 * N - 1},
    receive done -> ok end,
    {msg, 2 * N};
%% ---- thread_ring ----
run(thread_ring, N) ->
    Main = self(),
    Last = start(fun() -> receive {next, P} -> ring(P, Main) end end),
    First = lists:foldl(fun(_, Next) -> start(fun() -> ring(Next, Main) end) end, Last, lists:seq(1, 99)),
    Last ! {next, First},
    First ! (N - 1),
    receive done -> ok end,
    {msg, N};
%% ---- counting ----
run(counting, N) ->
    Main = self(),
    Tally = spawn_opt(fun() -> tally(0) end, [{message_queue_data, off_heap} | ?OPTS]),
    start(fun() -> flood(Tally, N), Ref = make_ref(), Tally ! {total, self(), Ref}, receive {Ref, T} -> Main ! {done, T} end end),
    receive {done, N} -> ok end,
    {msg, N};
%% ---- fork_join_throughput ----
run(fork_join_throughput, N) ->
    Main = self(),
    Workers = [start(fun() -> expect(N, Main) end) || _ <- lists:seq(1, 60)],
    start(fun() -> rounds(Workers, N) end),
    [receive done -> ok end || _ <- Workers],
    {msg, N * 60};
%% ---- fork_join_create ----
run(fork_join_create, N) ->
    Main = self(),
    Gate = spawn_opt(fun() -> countdown(N, Main) end, [{message_queue_data, off_heap}]),
    create(N, Gate),
    receive done -> ok end,
    {actor, N};
run(fork_join_create_actor, N) ->
    Main = self(),
    Gate = spawn_opt(fun() -> countdown(N, Main) end, [{message_queue_data, off_heap}]),
    start(fun() -> create(N, Gate) end),
    receive done -> ok end,
    {actor, N};
%% ---- fib, skynet ----
run(fib, K) ->
    Main = self(),
    spawn(fun() -> fib(Main, K) end),
    receive {answer, _} -> ok end,
    {actor, 2 * fib_value(K + 1) - 1};
run(skynet, N) ->
    Main = self(),
    {Leaves, Actors} = sizes(1, 1, N),
    Expected = Leaves * (Leaves - 1) div 2,
    spawn(fun() -> sky(Main, 0, Leaves) end),
    receive {answer, Expected} -> ok end,
    {actor, Actors};
%% ---- chameneos ----
run(chameneos, N) ->
    Main = self(),
    Mall = spawn_opt(fun() -> mall(N, none, 0, 0, 0, Main) end, [{min_heap_size, 1000}]),
    [start(fun() -> Mall ! {meet, self(), I rem 3}, creature(Mall, I rem 3, 0) end) || I <- lists:seq(1, 100)],
    Twice = 2 * N,
    receive {done, Twice} -> ok end,
    {msg, 4 * N};
%% ---- big ----
run(big, N) ->
    Main = self(),
    Gate = start(fun() -> countdown(120, Main) end),
    All = [start(fun() -> receive {all, T} -> big(T, N, I * 48271 rem 2147483647, Gate) end end) || I <- lists:seq(1, 120)],
    Tuple = list_to_tuple(All),
    [P ! {all, Tuple} || P <- All],
    [P ! pong || P <- All],
    receive done -> ok end,
    {msg, 2 * N * 120};
%% ---- request_response ----
run(request_response, N) ->
    Main = self(),
    Server = start(fun server/0),
    start(fun() -> requests(Server, N), Main ! done end),
    receive done -> ok end,
    {msg, 2 * N};
run(request_pipelined, N) ->
    Main = self(),
    Rounds = (N + 999) div 1000,
    Server = start(fun server/0),
    spawn_opt(fun() -> pipelined(Server, Rounds), Main ! done end, [{min_heap_size, 20000}]),
    receive done -> ok end,
    {msg, 2 * Rounds * 1000};
run(mailbox_n_to_1, N) ->
    Main = self(),
    Tally = spawn_opt(fun() -> expect(N * 100, Main) end, [{message_queue_data, off_heap} | ?OPTS]),
    [start(fun() -> flood(Tally, N) end) || _ <- lists:seq(1, 100)],
    receive done -> ok end,
    {msg, N * 100};
run(memory, N) ->
    erlang:garbage_collect(),
    Before = erlang:memory(processes) + erlang:memory(system),
    All = [spawn_opt(fun() -> receive {get, P} -> P ! I end end, [{min_heap_size, 0}]) || I <- lists:seq(1, N)],
    hd(All) ! {get, self()},
    receive _ -> ok end,
    After = erlang:memory(processes) + erlang:memory(system),
    {bytes, After - Before - 16 * length(All)};
run(Name, _) ->
    io:format(standard_error, "bench: no benchmark is named ~p~n", [Name]),
    erlang:halt(2).

player(Main) ->
    receive
        {_, 0} -> Main ! done;
        {From, Left} -> From ! {self(), Left - 1}, player(Main)
    end.

ring(Next, Main) ->
    receive
        0 -> Main ! done;
        Left -> Next ! (Left - 1), ring(Next, Main)
    end.

flood(_, 0) -> ok;
flood(To, N) -> To ! inc, flood(To, N - 1).

tally(Count) ->
    receive
        inc -> tally(Count + 1);
        {total, From, Ref} -> From ! {Ref, Count}
    end.

expect(0, Main) -> Main ! done;
expect(N, Main) -> receive inc -> expect(N - 1, Main) end.

rounds(_, 0) -> ok;
rounds(Workers, N) -> each(Workers), rounds(Workers, N - 1).
each([]) -> ok;
each([W | Rest]) -> W ! inc, each(Rest).

countdown(0, Main) -> Main ! done;
countdown(Left, Main) -> receive done -> countdown(Left - 1, Main) end.

create(0, _) -> ok;
create(N, Gate) ->
    P = spawn(fun() -> receive {go, G} -> G ! done end end),
    P ! {go, Gate},
    create(N - 1, Gate).

fib(Parent, K) when K < 2 -> Parent ! {answer, K};
fib(Parent, K) ->
    Self = self(),
    spawn(fun() -> fib(Self, K - 1) end),
    spawn(fun() -> fib(Self, K - 2) end),
    receive {answer, A} -> receive {answer, B} -> Parent ! {answer, A + B} end end.

fib_value(K) -> fib_value(K, 0, 1).
fib_value(0, A, _) -> A;
fib_value(K, A, B) -> fib_value(K - 1, B, A + B).

sizes(Leaves, Actors, N) when Leaves >= N -> {Leaves, Actors};
sizes(Leaves, Actors, N) -> sizes(Leaves * 10, Actors + Leaves * 10, N).

sky(Parent, First, 1) -> Parent ! {answer, First};
sky(Parent, First, Size) ->
    Self = self(),
    Step = Size div 10,
    sky_spawn(Self, First, Step, 10),
    Parent ! {answer, sky_sum(0, 10)}.
sky_spawn(_, _, _, 0) -> ok;
sky_spawn(Self, First, Step, Left) ->
    spawn(fun() -> sky(Self, First, Step) end),
    sky_spawn(Self, First + Step, Step, Left - 1).
sky_sum(Sum, 0) -> Sum;
sky_sum(Sum, Left) -> receive {answer, V} -> sky_sum(Sum + V, Left - 1) end.

complement(A, A) -> A;
complement(A, B) -> 3 - A - B.

mall(Left, Waiting, Color, Total, Finished, Main) ->
    receive
        {meet, Who, _} when Left =:= 0 -> Who ! finish, mall(0, none, 0, Total, Finished, Main);
        {meet, Who, C} when Waiting =:= none -> mall(Left, Who, C, Total, Finished, Main);
        {meet, Who, C} -> Waiting ! {met, Who, C}, mall(Left - 1, none, 0, Total, Finished, Main);
        {total, M} when Finished =:= 99 -> Main ! {done, Total + M};
        {total, M} -> mall(Left, Waiting, Color, Total + M, Finished + 1, Main)
    end.

creature(Mall, Color, Meetings) ->
    receive
        {met, Other, C} ->
            New = complement(Color, C),
            Other ! {change, New},
            Mall ! {meet, self(), New},
            creature(Mall, New, Meetings + 1);
        {change, New} -> Mall ! {meet, self(), New}, creature(Mall, New, Meetings + 1);
        finish -> Mall ! {total, Meetings}
    end.

big(All, Left, Random, Gate) ->
    receive
        {ping, From} -> From ! pong, big(All, Left, Random, Gate);
        pong when Left =:= 0 -> Gate ! done, big(All, 0, Random, Gate);
        pong ->
            Next = Random * 48271 rem 2147483647,
            element(Next rem 120 + 1, All) ! {ping, self()},
            big(All, Left - 1, Next, Gate)
    end.

server() -> receive {ask, From, Ref, X} -> From ! {Ref, X + 1}, server() end.

requests(_, 0) -> ok;
requests(Server, N) ->
    Ref = make_ref(),
    Server ! {ask, self(), Ref, N},
    receive {Ref, _} -> requests(Server, N - 1) end.

pipelined(_, 0) -> ok;
pipelined(Server, Rounds) ->
    send_batch(Server, 1000),
    receive_batch(1000),
    pipelined(Server, Rounds - 1).
send_batch(_, 0) -> ok;
send_batch(Server, N) -> Server ! {ask, self(), N, N}, send_batch(Server, N - 1).
receive_batch(0) -> ok;
receive_batch(N) -> receive {N, _} -> receive_batch(N - 1) end.
