// Errors that cross the library's border: std::invalid_argument for the caller's mistakes.
#pragma once

#include <sstream>
#include <stdexcept>

#define MEDDEL_CHECK(condition, message)                      \
  do {                                                        \
    if (!(condition)) {                                       \
      std::ostringstream meddel_check_stream;                 \
      meddel_check_stream << message; /* NOLINT */            \
      throw std::invalid_argument(meddel_check_stream.str()); \
    }                                                         \
  } while (false)
