// Whole CSV files: headers, line ends, bad rows, limits.
#include "tools/lab/csv_table.h"

#include <gtest/gtest.h>

#include "agent/stream/csv.h"
#include "tests/unit/tools/lab/fixture.h"

namespace dipper::lab {
namespace {

struct Rows {
  std::vector<std::vector<std::string>> good;
  std::vector<uint64_t> bad_lines;
};

Rows ReadAll(const CsvTable& table) {
  Rows rows;
  table.ForEachRow(
      [&](std::span<const std::string_view> cells, uint64_t) {
        rows.good.emplace_back(cells.begin(), cells.end());
        return true;
      },
      [&](uint64_t line, uint32_t) { rows.bad_lines.push_back(line); });
  return rows;
}

using Lines = std::vector<std::vector<std::string>>;

TEST(CsvTable, ReadsEveryUsualDialectAlike) {
  const Lines expected = {{"1", "x y"}, {"2", ""}};
  for (const char* text :
       {"a,b\n1,x y\n2,\n", "a,b\r\n1,x y\r\n2,\r\n",
        "\xEF\xBB\xBF"
        "a,b\n1,x y\n2,",
        "a;b\n1;x y\n2;\n", "\"a\",\"b\"\n\"1\",\"x y\"\n\"2\",\"\"\n", "\n\na,b\n1,x y\n\n2,\n\n"}) {
    const CsvTable table = Table(text);
    EXPECT_EQ(table.columns(), (std::vector<std::string>{"a", "b"})) << text;
    EXPECT_EQ(ReadAll(table).good, expected) << text;
  }
}

TEST(CsvTable, ReportsRowsThatDoNotFit) {
  const Rows rows = ReadAll(Table("a,b\n1,2\n1\n1,2,3\n\"1,2\n3,4\n"));
  EXPECT_EQ(rows.good, (Lines{{"1", "2"}, {"3", "4"}}));
  EXPECT_EQ(rows.bad_lines, (std::vector<uint64_t>{3, 4, 5}));
}

TEST(CsvTable, RefusesUnusableHeaders) {
  EXPECT_TRUE(Catch([] { Table(""); }).Says("is empty"));
  EXPECT_TRUE(Catch([] { Table("\n\n \n"); }).Says("is empty"));
  EXPECT_TRUE(Catch([] { Table("\xEF\xBB\xBF"); }).Says("is empty"));
  EXPECT_TRUE(Catch([] { Table("a,,c\n"); }).Says("test.csv:1: column 2 has no name"));
  EXPECT_TRUE(Catch([] { Table("a,b,a\n"); }).Says("two columns are called 'a'"));
  EXPECT_TRUE(Catch([] { Table("a,\"b\n"); }).Says("quote"));
  const Thrown wide = Catch([] { Table("a" + std::string(stream::kMaxColumns, ',') + "\n"); });
  EXPECT_TRUE(wide.Says("more than 1024 columns")) << wide.message;
}

TEST(CsvTable, BoundsLines) {
  const std::string line(kMaxDeskLineBytes + 10, '7');
  const Thrown body = Catch([&] { ReadAll(Table("a\n1\n" + line + "\n")); });
  EXPECT_TRUE(body.Says("test.csv:3: the line is longer than 1 MiB")) << body.message;
  EXPECT_TRUE(Catch([&] { Table(line); }).Says("test.csv:1: the line is longer"));
  // Just below the limit is a row as any other.
  EXPECT_EQ(ReadAll(Table("a\n" + std::string(kMaxDeskLineBytes - 1, '7') + "\n")).good.size(), 1U);
}

TEST(CsvTable, NamesTheColumnsWhenOneIsMissing) {
  const CsvTable table = Table("temperature,humidity,class\n");
  EXPECT_EQ(table.ColumnIndex("humidity"), 1U);
  const Thrown thrown = Catch([&] { table.ColumnIndex("clas"); });
  EXPECT_EQ(thrown.code, ExitCode::kNotFound);
  EXPECT_TRUE(thrown.Says("did you mean 'class'")) << thrown.message;
  EXPECT_TRUE(thrown.Says("temperature, humidity, class")) << thrown.message;
}

TEST(CsvTable, SaysWhatIsUsuallyWrongWithAFirstLine) {
  EXPECT_TRUE(
      Catch([] { Table("1,2.5,1\n2,3,4\n"); }).Says("is the header line with the columns' names missing?"));
  const CsvTable bare = Table("1,2.5,3\n2,3,4\n");
  EXPECT_TRUE(Catch([&] { bare.ColumnIndex("class"); }).Says("only numbers: is the header"));
  EXPECT_FALSE(Catch([] { Table("a,b\n").ColumnIndex("class"); }).Says("is the header"));
  EXPECT_TRUE(Catch([] { Table("a\tb\tclass\n1\t2\t0\n"); }).Says("separator must be ',' or ';'"));
  EXPECT_TRUE(Catch([] { Table(std::string("PK\0\0,x\n", 7)); }).Says("is no text"));
}

TEST(CsvTable, ShowsNoControlCharacters) {
  EXPECT_EQ(Printable("\x1b[2Jred\x7f"), "\\x1b[2Jred\\x7f");
  EXPECT_EQ(Printable("gr\xc3\xbcn"), "gr\xc3\xbcn");
  EXPECT_EQ(Printable(std::string(100, 'a')), std::string(60, 'a') + "...");
  const Thrown twice = Catch([] { Table("\x1b[31m,\x1b[31m\n"); });
  EXPECT_TRUE(twice.Says("'\\x1b[31m'")) << twice.message;
  const Thrown absent = Catch([] {
    Table(
        "a\x07"
        "b,c\n")
        .ColumnIndex("d");
  });
  EXPECT_TRUE(absent.Says("It has: a\\x07b, c")) << absent.message;
}

TEST(CsvTable, DigestNamesTheBytes) {
  EXPECT_EQ(base::ToHex(Table("abc").digest()).view(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace dipper::lab
