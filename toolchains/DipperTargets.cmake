# How every Dipper target is compiled: one place for language level, warnings, hardening and floating-point rules.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# The default Release is -O3 -DNDEBUG; -O2 is as fast here and smaller, and own asserts do not depend on NDEBUG.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
# Lines but no variables: a third less to compile under the sanitizers. For a debugger: -DCMAKE_CXX_FLAGS_DEBUG="-O0 -g".
if(NOT CMAKE_CXX_FLAGS_DEBUG OR CMAKE_CXX_FLAGS_DEBUG STREQUAL "-g")
  set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
endif()

find_program(DIPPER_CCACHE ccache)
if(DIPPER_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${DIPPER_CCACHE}")
endif()

add_library(dipper_flags INTERFACE)
target_include_directories(dipper_flags INTERFACE "${PROJECT_SOURCE_DIR}")
# Bit-identical floats on every target need contraction off (docs/reference/numerics.md); EIGEN_MAX_ALIGN_BYTES
# would otherwise differ between builds and show in the ABI.
target_compile_options(dipper_flags INTERFACE -ffp-contract=off)
target_compile_definitions(dipper_flags INTERFACE EIGEN_MAX_ALIGN_BYTES=16 EIGEN_DONT_VECTORIZE)
target_compile_options(dipper_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wdouble-promotion -Wshadow -Wnon-virtual-dtor
  -Wold-style-cast -Wcast-align -Wundef -Wvla)
if(DIPPER_WERROR)
  target_compile_options(dipper_flags INTERFACE -Werror)
endif()
if(DIPPER_TEST_FAULTS)
  target_compile_definitions(dipper_flags INTERFACE DIPPER_TEST_FAULTS=1)
endif()
if(DIPPER_SANITIZE)
  # The vptr check needs the type information that the rooms are built without.
  target_compile_options(dipper_flags INTERFACE -fsanitize=${DIPPER_SANITIZE} -fno-sanitize=vptr
    -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(dipper_flags INTERFACE -fsanitize=${DIPPER_SANITIZE})
else()
  target_compile_options(dipper_flags INTERFACE -fstack-protector-strong)
  if(CMAKE_BUILD_TYPE MATCHES "Release|MinSizeRel|RelWithDebInfo")
    target_compile_definitions(dipper_flags INTERFACE _FORTIFY_SOURCE=2)
  endif()
  target_link_options(dipper_flags INTERFACE -Wl,-z,relro,-z,now $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie>)
endif()

# With DIPPER_UNITY several sources of a target are compiled as one: about half the time, but a change recompiles its
# neighbours too. Not those that are cheap and that clang-tidy reads each time.
function(dipper_unity name)
  if(DIPPER_UNITY AND NOT name MATCHES "^dipper_(learn|base|hal)")
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  endif()
endfunction()

# dipper_library(NAME [EXCEPTIONS] SOURCES a.cc ... [DEPS t ...] [PRIVATE_DEPS t ...])
# A room of the house. Rooms build without exceptions and RTTI unless EXCEPTIONS is given (link, app, tools).
function(dipper_library name)
  cmake_parse_arguments(ARG "EXCEPTIONS" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  if(ARG_SOURCES)
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PUBLIC dipper_flags ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
    dipper_unity(${name})
    if(NOT ARG_EXCEPTIONS)
      target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti>)
    endif()
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE dipper_flags ${ARG_DEPS})
  endif()
endfunction()

# dipper_program(NAME OUTPUT name SOURCES ... DEPS ...): a program in bin/.
function(dipper_program name)
  cmake_parse_arguments(ARG "" "OUTPUT" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE dipper_flags ${ARG_DEPS})
  dipper_unity(${name})
  if(ARG_OUTPUT)
    set_target_properties(${name} PROPERTIES OUTPUT_NAME ${ARG_OUTPUT})
  endif()
endfunction()

# dipper_test(NAME LABEL unit|contract|integration|fault|fuzz|system SOURCES ... [DEPS ...] [TIMEOUT s] [ARGS ...])
# One GoogleTest program, one CTest entry. The target dipper_tests builds them all; with DIPPER_TEST_FILTER only the
# tests whose name matches exist. A label `long` beside the first keeps a test out of the ordinary run.
add_custom_target(dipper_tests)
function(dipper_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;DEPS;ARGS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE dipper_flags ${ARG_DEPS} GTest::gtest_main)
  dipper_unity(${name})
  # GoogleTest's macros trip these two in user code.
  target_compile_options(${name} PRIVATE -Wno-old-style-cast -Wno-sign-conversion)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  if(DIPPER_TEST_FILTER AND NOT name MATCHES "${DIPPER_TEST_FILTER}")
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
    return()
  endif()
  add_dependencies(dipper_tests ${name})
  add_test(NAME ${name} COMMAND ${name} ${ARG_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT ${ARG_TIMEOUT} SKIP_RETURN_CODE 77)
  # tools/test runs two tests a core, for most of the time of these two kinds is waiting; the others want a core of their own.
  if(NOT ARG_LABEL MATCHES "integration|system")
    set_tests_properties(${name} PROPERTIES PROCESSORS 2)
  endif()
endfunction()

# dipper_device_test(NAME script.py [TIMEOUT s] [ARGS ...])
# A Python test of the real agent and the real dipper command, which are its first two arguments; only where both are built.
function(dipper_device_test name script)
  cmake_parse_arguments(ARG "" "TIMEOUT" "ARGS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  if(NOT TARGET dipper_agent OR NOT TARGET dipper_cli)
    return()
  endif()
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  add_test(NAME ${name} COMMAND Python3::Interpreter "${CMAKE_CURRENT_SOURCE_DIR}/${script}"
    "$<TARGET_FILE:dipper_agent>" "$<TARGET_FILE:dipper_cli>" ${ARG_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS integration TIMEOUT ${ARG_TIMEOUT})
endfunction()
