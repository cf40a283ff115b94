# Broken Raft cores. Each is the core with one rule taken out, by a replacement in the text of one of its files. A text that is no longer there is an error: the rule has moved, and so must the mutant.
# main: the program that it is linked into.
function(manta_mutant_build name main file old new)
  set(source ${PROJECT_SOURCE_DIR}/gcs/raft/${file})
  set(target test_mutant_${name})
  set(mutated ${PROJECT_BINARY_DIR}/mutants/${name}.c)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  file(READ ${source} text)
  string(FIND "${text}" "${old}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "mutant ${name}: gcs/raft/${file} has no \"${old}\"")
  endif()
  string(REPLACE "${old}" "${new}" text "${text}")
  file(CONFIGURE OUTPUT ${mutated} CONTENT "${text}" @ONLY)
  add_executable(${target} ${PROJECT_SOURCE_DIR}/${main} ${mutated})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR} ${MANTA_INCLUDES})
  target_compile_options(${target} PRIVATE -Wno-unused -Wno-unused-parameter)
  target_link_libraries(${target} PRIVATE test_support manta_static)
endfunction()

# The simulator must catch it within so many seeds.
function(manta_mutant name seeds file old new)
  manta_mutant_build(${name} test/sim/gcs/mutant.c ${file} "${old}" "${new}")
  manta_test(mutant.gcs.${name} mutant test_mutant_${name} ${seeds})
endfunction()

# Too rare for the simulator: the unit tests of known defects must catch it.
function(manta_mutant_unit name file old new)
  manta_mutant_build(${name} test/unit/gcs/test_raft_defects.c ${file} "${old}" "${new}")
  manta_test(mutant.gcs.${name} mutant test_mutant_${name})
  set_tests_properties(mutant.gcs.${name} PROPERTIES PASS_REGULAR_EXPRESSION "passed, [1-9][0-9]* failed")
endfunction()

manta_mutant(acknowledges_before_durable 500 follower.c
  [[r->verified < r->durable ? r->verified : r->durable]]
  [[r->verified]])
manta_mutant(counts_own_log_before_durable 500 replication.c
  [[raft_majority(r, r->durable, match_of)]]
  [[raft_majority(r, raft_log_last(&r->log), match_of)]])
manta_mutant(votes_twice 500 election.c
  [[return !r->vote || r->vote == m->from]]
  [[return true]])
manta_mutant(votes_for_shorter_logs 500 election.c
  [[return m->vote.last_term != term ? m->vote.last_term > term : m->vote.last_index >= raft_log_last(&r->log)]]
  [[return m->vote.last_term >= 1 || term]])
manta_mutant(sends_votes_before_durable 500 raft.c
  [[m->after_write = r->term_write > r->durable_write ? r->term_write : 0]]
  [[m->after_write = 0]])
manta_mutant(commits_old_terms_by_counting 500 replication.c
  [[if (index <= before || raft_log_term(&r->log, index) != r->term)]]
  [[if (index <= before)]])
manta_mutant(believes_reports_of_truncated_entries 500 raft.c
  [[r->writes[i].last = from - 1]]
  [[r->writes[i].last += 0]])
manta_mutant(believes_reports_blindly 500 raft.c
  [[r->durable = r->writes[done - 1].last]]
  [[r->durable = raft_log_last(&r->log)]])
manta_mutant(keeps_truncated_configurations 500 raft.c
  [[if (r->latest.index >= from) raft_rulings_reload(r)]]
  [[(void)from]])
manta_mutant(changes_members_before_its_term_commits 500 membership.c
  [[return r->commit < r->term_start ? RAFT_NOT_READY : RAFT_OK]]
  [[return RAFT_OK]])
manta_mutant(changes_members_twice_at_once 500 membership.c
  [[if (r->change.is_active || r->latest.index > r->commit) return RAFT_BUSY]]
  [[if (r->change.is_catching_up) return RAFT_BUSY]])
manta_mutant(sole_voter_keeps_its_term 500 election.c
  [[raft_set_term(r, r->term + 1, r->settings.id)]]
  [[raft_set_term(r, r->term + (raft_configuration_voters(&r->latest.c) > 1), r->settings.id)]])
manta_mutant(keeps_conflicting_entries 500 follower.c
  [[raft_log_term(&r->log, index) != m->append.entries[i].term) break]]
  [[raft_log_term(&r->log, index) == 0) break]])
manta_mutant(never_commits_after_healing 500 replication.c
  [[if (p->mode == PEER_SNAPSHOT || m->append_reply.sequence < p->since || previous <= p->match || previous >= p->next) return]]
  [[if (p->mode != PEER_SNAPSHOT) return]])
manta_mutant_unit(answers_stale_terms_with_state follower.c
  [[raft_emit(r, RAFT_APPEND_REPLY, m->from)->append_reply.status = RAFT_APPEND_STALE;]]
  [[raft_message *x = raft_emit(r, RAFT_APPEND_REPLY, m->from);
    x->append_reply.status = RAFT_APPEND_OK;
    x->append_reply.match = raft_log_last(&r->log);
    x->append_reply.next = raft_log_last(&r->log) + 1;]])
manta_mutant_unit(lets_late_refusals_through replication.c
  [[|| previous <= p->match || previous >= p->next) return]]
  [[) return]])
manta_mutant_unit(refuses_pre_votes_without_its_term election.c
  [[if (reply->vote_reply.granted) reply->term = m->term]]
  [[reply->term = m->term]])
manta_mutant_unit(learners_do_not_vote election.c
  [[bool granted = !content && m->term == r->term]]
  [[bool granted = raft_is_voter(r, r->settings.id) && !content && m->term == r->term]])
manta_mutant_unit(removed_leaders_do_not_campaign election.c
  [[return r->latest.index > r->commit && raft_configuration_is_voter(&r->previous.c, r->settings.id)]]
  [[return false]])
manta_mutant_unit(commit_falls raft.c
  [[if (index > r->commit) r->commit = index]]
  [[r->commit = index]])
manta_mutant_unit(takes_up_late_votes election.c
  [[if (!is_asking(r, m)) return]]
  [[]])
manta_mutant_unit(reads_without_majority reads.c
  [[return raft_majority(r, r->round, round_of)]]
  [[return round_of(&r->peers[0]) | r->round]])

# Broken nodes: the whole simulation with one rule taken out of one file of the library, which it must see within 500 seeds. A rule that stands in two files is given as PATH OLD NEW once more, behind ALSO.
function(manta_mutate name path old new out)
  file(READ ${PROJECT_SOURCE_DIR}/${path} text)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${path})
  string(FIND "${text}" "${old}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "mutant ${name}: ${path} has no \"${old}\"")
  endif()
  string(REPLACE "${old}" "${new}" text "${text}")
  get_filename_component(file ${path} NAME_WE)
  set(mutated ${PROJECT_BINARY_DIR}/mutants/nodes_${name}_${file}.c)
  file(CONFIGURE OUTPUT ${mutated} CONTENT "${text}" @ONLY)
  set(${out} ${mutated} PARENT_SCOPE)
endfunction()

function(manta_mutant_nodes name path old new)
  cmake_parse_arguments(MUTANT "" "" "ALSO" ${ARGN})
  manta_mutate(${name} ${path} "${old}" "${new}" mutated)
  if(MUTANT_ALSO)
    list(GET MUTANT_ALSO 0 also_path)
    list(GET MUTANT_ALSO 1 also_old)
    list(GET MUTANT_ALSO 2 also_new)
    manta_mutate(${name} ${also_path} "${also_old}" "${also_new}" also)
  endif()
  set(target test_mutant_nodes_${name})
  add_executable(${target} ${simulate_sources} ${PROJECT_SOURCE_DIR}/test/support/linear.c ${mutated} ${also})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR} ${MANTA_INCLUDES})
  target_compile_options(${target} PRIVATE -Wno-unused -Wno-unused-parameter)
  target_link_libraries(${target} PRIVATE manta_static PkgConfig::ZMQ)
  manta_test(mutant.nodes.${name} mutant ${target} --seeds 1..500 --failures 1 --no-shorten ${MUTANT_UNPARSED_ARGUMENTS})
  set_tests_properties(mutant.nodes.${name} PROPERTIES PASS_REGULAR_EXPRESSION "seed [0-9]+ failed: " TIMEOUT 600)
endfunction()

manta_mutant_nodes(acknowledges_before_durable gcs/raft/follower.c
  [[r->verified < r->durable ? r->verified : r->durable]]
  [[r->verified]]
  --faults crash,slowdisk)
manta_mutant_nodes(no_check_of_the_token gcs/core/lock.c
  [[if (lock && lock->token == token && text_equal(lock->holder, holder)) return lock;]]
  [[if (lock) return lock;]])
manta_mutant_nodes(no_resend mailbox/link/session.c
  [[if (s->links->sabotage == LINK_SABOTAGE_RESEND) forget_lost(s, expected);]]
  [[forget_lost(s, expected);]])
manta_mutant_nodes(raft_step_may_wait actor/node/gcs_actor.c
  [[.concurrency = 1024, .no_yield_in_send = true]]
  [[.concurrency = 1024]]
  ALSO gcs/host/effects.c
  [[if (h->is_stepping) {]]
  [[if (false) {]])
