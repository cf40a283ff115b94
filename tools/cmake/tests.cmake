# One ctest for each test/<kind>/<module>/test_<subject>.c, fuzz target, example, must-not-compile case and check script.
set(MANTA_TEST_ENVIRONMENT
    "ASAN_OPTIONS=detect_stack_use_after_return=0:abort_on_error=1"
    "TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=${PROJECT_SOURCE_DIR}/test/check/tsan.supp"
    "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1")
if(MANTA_SANITIZE OR MANTA_FUZZ)
  list(APPEND MANTA_TEST_ENVIRONMENT "MANTA_TEST_SCALE=10") # tests divide their loads by it
endif()
set(CHECK ${PROJECT_SOURCE_DIR}/test/check)

function(manta_test name label)
  add_test(NAME ${name} COMMAND ${ARGN})
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 120 ENVIRONMENT "${MANTA_TEST_ENVIRONMENT}" SKIP_RETURN_CODE 77)
endfunction()

# module and subject of test/<kind>/<module>/<prefix>_<subject>.c
macro(manta_name_parts source)
  get_filename_component(subject ${source} NAME_WE)
  string(REGEX REPLACE "^(test|fuzz)_" "" subject ${subject})
  get_filename_component(directory ${source} DIRECTORY)
  get_filename_component(module ${directory} NAME)
endmacro()

file(GLOB support_sources CONFIGURE_DEPENDS test/support/*.c)
add_library(test_support STATIC ${support_sources})
target_include_directories(test_support PUBLIC ${PROJECT_SOURCE_DIR} PRIVATE ${MANTA_INCLUDES})
target_compile_options(test_support PUBLIC $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>) # a cut failure message is fine

set(kinds unit contract integration sim stress)
if(MANTA_FUZZ)
  set(kinds "") # the fuzz preset builds and runs fuzz targets only
endif()
foreach(kind ${kinds})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS test/${kind}/test_*.c)
  foreach(source ${sources})
    manta_name_parts(${source})
    set(target test_${kind}_${module}_${subject})
    add_executable(${target} ${source})
    target_link_libraries(${target} PRIVATE test_support manta_static PkgConfig::ZMQ)
    if(module STREQUAL "mailbox" AND MSGPACK_FOUND)
      target_link_libraries(${target} PRIVATE PkgConfig::MSGPACK m)
    endif()
    if(module STREQUAL "tools") # they run the tools by their paths
      add_dependencies(${target} manta-store)
      target_compile_definitions(${target} PRIVATE MANTA_STORE_TOOL="$<TARGET_FILE:manta-store>")
    endif()
    manta_test(${kind}.${module}.${subject} ${kind} ${target})
    if(target MATCHES "^test_unit_actor_(objects|kill|calls|options|features|alloc_failures)$") # again on the store that processes share
      manta_test(store.${module}.${subject} ${kind} ${target})
      set_property(TEST store.${module}.${subject} APPEND PROPERTY ENVIRONMENT "MANTA_STORE=private" "MANTA_OBJECT_BYTES=67108864")
    endif()
    if(kind STREQUAL "stress")
      set_tests_properties(${kind}.${module}.${subject} PROPERTIES RUN_SERIAL ON)
    endif()
  endforeach()
endforeach()

# ctest: the same inputs each time, 20 s at most, so that a run fails for what was changed. What the targets do not know yet is looked for by `ninja fuzz-long`: random seeds,
# MANTA_FUZZ_SECONDS for each target, what is found stays in build/<preset>/fuzz-corpus and fuzz-crashes.
if(MANTA_FUZZ)
  add_custom_target(fuzz-long COMMENT "Fuzzing each target for ${MANTA_FUZZ_SECONDS} s")
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz-crashes)
  file(GLOB_RECURSE fuzzers CONFIGURE_DEPENDS test/fuzz/fuzz_*.c)
  foreach(source ${fuzzers})
    manta_name_parts(${source})
    set(target fuzz_${module}_${subject})
    add_executable(${target} ${source})
    target_link_libraries(${target} PRIVATE manta_static)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    manta_test(fuzz.${module}.${subject} fuzz ${target} -seed=1 -runs=100000 -max_total_time=20 -rss_limit_mb=4096 -timeout=30)
    set(corpus ${PROJECT_BINARY_DIR}/fuzz-corpus/${target})
    add_custom_command(TARGET fuzz-long POST_BUILD COMMAND ${CMAKE_COMMAND} -E make_directory ${corpus}
      COMMAND ${target} -max_total_time=${MANTA_FUZZ_SECONDS} -rss_limit_mb=4096 -timeout=30 -artifact_prefix=${PROJECT_BINARY_DIR}/fuzz-crashes/${target}- ${corpus})
    add_dependencies(fuzz-long ${target})
  endforeach()
endif()

foreach(source ${example_sources})
  get_filename_component(name ${source} NAME_WE)
  manta_test(example.${name} example sh ${CHECK}/example.sh $<TARGET_FILE:example_${name}> ${PROJECT_SOURCE_DIR}/test/examples/${name}.expected)
endforeach()

file(GLOB apps CONFIGURE_DEPENDS test/apps/*.c)
foreach(source ${apps})
  get_filename_component(name ${source} NAME_WE)
  add_executable(test_app_${name} ${source})
  target_link_libraries(test_app_${name} PRIVATE manta_static)
endforeach()
if(NOT MANTA_FUZZ)
  manta_test(integration.tools.cluster integration sh ${CHECK}/cluster.sh ${PROJECT_BINARY_DIR} ${PROJECT_SOURCE_DIR})
endif()
manta_test(example.python example sh ${CHECK}/python.sh $<TARGET_FILE:example_serve> ${PROJECT_SOURCE_DIR})

file(GLOB cases CONFIGURE_DEPENDS test/fail/*.c)
foreach(source ${cases})
  get_filename_component(name ${source} NAME_WE)
  manta_test(fail.${name} fail sh ${CHECK}/must_not_compile.sh ${CMAKE_C_COMPILER} ${PROJECT_SOURCE_DIR} ${source})
endforeach()

find_program(PYTHON python3 REQUIRED)
file(GLOB checks CONFIGURE_DEPENDS test/check/check_*.sh test/check/check_*.py)
foreach(script ${checks})
  get_filename_component(name ${script} NAME_WE)
  string(REGEX REPLACE "^check_" "" name ${name})
  set(interpreter sh)
  if(script MATCHES "[.]py$")
    set(interpreter ${PYTHON})
  endif()
  manta_test(check.${name} check ${interpreter} ${script} ${PROJECT_SOURCE_DIR})
  set_property(TEST check.${name} APPEND PROPERTY ENVIRONMENT "CC=${CMAKE_C_COMPILER}" "CXX=${CMAKE_CXX_COMPILER}")
endforeach()
