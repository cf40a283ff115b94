%% Two Erlang nodes on this machine: messages one way to a process of the other node, and calls to it. See ../../README.md.
%%
%% The other node: erl ... -run dist_bench serve; then: erl ... -run dist_bench main NODE MESSAGES TRIPS: prints one line of JSON.
-module(dist_bench).
-export([main/1, serve/0]).

serve() ->
    process_flag(message_queue_data, off_heap),
    register(sink, self()),
    io:format("ready~n"),
    loop(0).

loop(N) ->
    receive
        {take, _} -> loop(N + 1);
        {seen, From, Ref} -> From ! {Ref, N}, loop(0);
        {echo, From, Ref, X} -> From ! {Ref, X}, loop(N)
    end.

main([Node, Messages, Trips]) ->
    Sink = {sink, list_to_atom(Node)},
    pong = net_adm:ping(list_to_atom(Node)),
    M = list_to_integer(Messages),
    Rates = [rate(Sink, Size, if Size < 1000 -> M; true -> M div 8 end) || Size <- [8, 64, 1024]],
    Times = lists:sort([trip(Sink, I) || I <- lists:seq(1, list_to_integer(Trips))]),
    At = fun(P) -> lists:nth(max(1, length(Times) * P div 100), Times) / 1000 end,
    io:format("{\"per_s_8\":~.1f,\"per_s_64\":~.1f,\"per_s_1024\":~.1f,\"p50_us\":~.2f,\"p99_us\":~.2f}~n", Rates ++ [At(50), At(99)]),
    halt(0).

ask(Sink, Question) ->
    Ref = make_ref(),
    Sink ! Question(Ref),
    receive {Ref, Answer} -> Answer end.

rate(Sink, Size, Count) ->
    Data = case Size of 8 -> 1 bsl 40; _ -> binary:copy(<<0>>, Size) end,
    Start = erlang:monotonic_time(nanosecond),
    flood(Sink, Data, Count),
    Count = ask(Sink, fun(Ref) -> {seen, self(), Ref} end),
    Count * 1.0e9 / (erlang:monotonic_time(nanosecond) - Start).

flood(_, _, 0) -> ok;
flood(Sink, Data, N) -> Sink ! {take, Data}, flood(Sink, Data, N - 1).

trip(Sink, I) ->
    Start = erlang:monotonic_time(nanosecond),
    I = ask(Sink, fun(Ref) -> {echo, self(), Ref, I} end),
    erlang:monotonic_time(nanosecond) - Start.
