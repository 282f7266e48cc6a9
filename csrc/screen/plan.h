// Which screens serve a scan, by its size and by what they leave of a sample.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "base/parallel.h"
#include "base/sides.h"
#include "screen/points.h"
#include "screen/screen.h"

namespace meddel {

// Which screens serve a scan of so many pairs of rows of d elements, `columns` of them a row.
struct ScreenPlan {
  bool prefix;  // if a sample says so
  bool dense;
  bool groups;  // likewise
};
ScreenPlan plan_screens(double pairs, double columns, int64_t d);

// The median score of some of the sampled rows and the nearest of the others, or of at most so
// many of these.
double typical_bar(const Sample& sample, int64_t most = std::numeric_limits<int64_t>::max());

// The prefix that costs least beside a dense screen (null: none), by what it leaves of some pairs
// of x and y at a bar, in a scan of so many pairs; none where it costs more than it saves. The
// codes of y are used from a cache, for many rows of x, or streamed from memory for each of them.
enum class Reading { kCached, kStreamed };
std::optional<Screen> choose_prefix(Team& team, const Sample& sample, const Screen* dense,
                                    const Positions& x, const Positions& y, double pairs,
                                    double bar, Reading reading = Reading::kCached);

// What blocks.h does of a scan by cosine, of so many pairs, `columns` of them a row on average.
enum class BlockKind { kNone, kProducts, kCodes };
// What a scan asks of a row: all columns above a fixed bar, the best of the earlier ones, the best
// of all, or several of the best.
enum class Asked { kAll, kEarlier, kBest, kSeveral };
BlockKind plan_block(double pairs, double columns, int64_t d, Asked asked);
// The same where columns are of a row's own group: `most` is their number for a typical pair's row.
BlockKind plan_grouped_block(double pairs, double columns, double most, int64_t d, Asked asked);

// By the scan's size (the default), or, for tests: all, the same with a wider prefix but no groups,
// the dense one with groups, the dense one alone, or none; or by the size, but boxes for k-center
// of few elements, or blocks of products (k-means: its products), or of codes, whatever its size;
// or, for k-center, passes over all rows, or near_centres.h alone.
enum class ScreenMode {
  kAuto,
  kAlways,
  kWide,
  kGrouped,
  kDense,
  kNever,
  kBoxes,
  kProducts,
  kCodes,
  kPasses,
  kNearCentres
};
void use_screen(ScreenMode mode);
bool screens_forced();
bool boxes_forced();
bool passes_forced();
bool near_forced();
bool groups_forced();
bool products_forced();

}  // namespace meddel
