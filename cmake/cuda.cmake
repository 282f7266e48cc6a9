# The CUDA extension: a module of its own, so that the CPU's needs nothing of this.
set(MEDDEL_CUDA AUTO CACHE STRING "Build the CUDA extension: ON, OFF, or AUTO, where nvcc is found")
option(MEDDEL_CUDA_FROM_PYPI "Take nvcc from the nvidia-cuda-* packages that Python finds" OFF)
option(MEDDEL_CUDA_ON_HOST "Build the extension that runs the GPU's code on the host, for tests" OFF)

if(MEDDEL_CUDA_ON_HOST)
  pybind11_add_module(_cuda_on_host csrc/cuda_bindings.cpp)
  target_link_libraries(_cuda_on_host PRIVATE cuda_on_host)
  target_compile_definitions(_cuda_on_host PRIVATE MEDDEL_CUDA_MODULE=_cuda_on_host)
endif()

if(MEDDEL_CUDA_FROM_PYPI)
  set(find_nvcc "import importlib.util as u; print(u.find_spec('nvidia.cu13').submodule_search_locations[0])")
  execute_process(COMMAND ${Python_EXECUTABLE} -c "${find_nvcc}" OUTPUT_VARIABLE nvidia
                  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  set(CMAKE_CUDA_COMPILER ${nvidia}/bin/nvcc)
  set(CMAKE_CUDA_FLAGS_INIT "-L${nvidia}/lib")
endif()

set(CMAKE_CUDA_ARCHITECTURES 80)  # until the compiler's version is known
if(MEDDEL_CUDA_FROM_PYPI)
  set(MEDDEL_CUDA ON)
elseif(MEDDEL_CUDA STREQUAL AUTO)
  include(CheckLanguage)
  check_language(CUDA)
endif()
if(NOT MEDDEL_CUDA OR (MEDDEL_CUDA STREQUAL AUTO AND NOT CMAKE_CUDA_COMPILER))
  message(STATUS "CUDA extension: not built")
  return()
endif()

set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.8)
  set(problem "needs nvcc 12.8 or later (for sm_100), got ${CMAKE_CUDA_COMPILER_VERSION}")
  if(NOT MEDDEL_CUDA STREQUAL AUTO)
    message(FATAL_ERROR "CUDA extension: ${problem}")
  endif()
  message(STATUS "CUDA extension: not built: ${problem}")
  return()
endif()

add_library(meddel_cuda OBJECT csrc/cuda/inner_products.cu csrc/cuda/loops.cu)
# 80 without -real: PTX as well, for GPUs of a later generation.
set_target_properties(meddel_cuda PROPERTIES CUDA_ARCHITECTURES "80;90a-real;100-real"
                                             CUDA_VISIBILITY_PRESET hidden)
target_include_directories(meddel_cuda PRIVATE csrc)
# The truth's bits must not depend on what a compiler fuses: see multiply_add.
target_compile_options(meddel_cuda PRIVATE --fmad=false -Xcompiler=-Wall,-Wextra)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
  target_compile_options(meddel_cuda PRIVATE --compress-mode=size)  # the module: 1.0 MB, not 1.55
endif()
if(MEDDEL_WERROR)
  target_compile_options(meddel_cuda PRIVATE --Werror=all-warnings)
endif()

pybind11_add_module(_cuda csrc/cuda_bindings.cpp)
target_link_libraries(_cuda PRIVATE meddel_options meddel_cuda)
target_compile_definitions(_cuda PRIVATE MEDDEL_CUDA_MODULE=_cuda)
install(TARGETS _cuda LIBRARY DESTINATION meddel_fast)
message(STATUS "CUDA extension: built with nvcc ${CMAKE_CUDA_COMPILER_VERSION}")
