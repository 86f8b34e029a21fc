# Debian control data -> a corpus, a labelled set and a list of programs. Plain awk, run with LC_ALL=C.
#
#   cat PACKAGES... TRANSLATIONS... | awk -v out=DIR -v rows=N -f descriptions.awk
#
# Packages stanzas give Section and Source of each package; Translation-en stanzas (and the Packages stanzas of archives
# without translations) give its description. Packages must come first. Written into DIR:
#   corpus.txt          a description a document: the synopsis, then a paragraph a line; a blank line after each
#   section.train.tsv   order<TAB>label<TAB>text, as the other two; `order` is a hash to sort by, which shuffles the rows
#   section.dev.tsv, section.test.tsv
#   programs.txt        "name: synopsis. first paragraph", a line each, of what is no library, header, module or document
#
# All is split by SOURCE package, with the digits taken out of its name (gcc-11 and gcc-12 are one): no source is in two
# splits. A description that repeats an earlier one but for digits and punctuation is dropped before the split, and
# a paragraph that stood in an earlier description is left out of the corpus. Descriptions of dev and test sources are not in
# the corpus either, so pretraining has not read them.

BEGIN {
    for (i = 1; i < 256; i++) {
        code[sprintf("%c", i)] = i
    }
    n_documents = 0
}

# A description's first line is the synopsis; the folded lines that follow are the text (Debian Policy 5.6.13).
/^[^ \t]/ { in_description = 0 }
/^Package:/ { package = $2 }
/^Source:/ { source = $2 }
/^Section:/ { section = $2; sub(/^.*\//, "", section) }
/^Description(-en)?:/ {
    synopsis = $0
    sub(/^[^:]*: */, "", synopsis)
    n_lines = 0
    in_description = 1
}
/^[ \t]/ && in_description { line[++n_lines] = $0 }
/^$/ { end_of_stanza() }
END { end_of_stanza(); write_all() }

function end_of_stanza() {
    if (package != "" && section != "" && !(package in section_of)) {
        section_of[package] = section
        source_of[package] = source == "" ? package : source
    }
    if (package in section_of && n_lines > 0 && !(package in done)) {
        done[package] = 1
        add_document()
    }
    package = source = section = synopsis = ""
    n_lines = in_description = 0
}

# Unfolds the lines into paragraphs: " ." ends one, an indented bullet starts one, other lines go on with the last.
function add_document(    i, text, indented, bullet, was_indented) {
    n_paragraphs = 0
    paragraph[0] = ""
    add_paragraph(synopsis)
    text = ""
    was_indented = 0
    for (i = 1; i <= n_lines; i++) {
        if (line[i] ~ /^[ \t]*\.?[ \t]*$/) {
            add_paragraph(text)
            text = ""
            continue
        }
        indented = line[i] ~ /^[ \t][ \t]/
        bullet = line[i] ~ /^[ \t]+([*+o-]|\302\267|\342\200\242|[0-9]+[.)])[ \t]/
        if (bullet || (was_indented && !indented)) {
            add_paragraph(text)
            text = ""
        }
        if (bullet) {
            sub(/^[ \t]+[^ \t]+/, "", line[i])
        }
        text = text " " line[i]
        was_indented = indented
    }
    add_paragraph(text)

    text = paragraph[1]
    for (i = 2; i <= n_paragraphs; i++) {
        text = text (text ~ /[.!?:]$/ ? " " : ". ") paragraph[i]
    }
    if (seen_description[letters(text)]++) {
        return
    }
    n_documents++
    name_of[n_documents] = package
    text_of[n_documents] = text
    split_of[n_documents] = split_by_source(source_of[package])
    n_in_section[section_of[package]]++
    if (split_of[n_documents] == "train") {
        write_corpus()
    }
    if (section_of[package] !~ /^(libs|oldlibs|libdevel|introspection|debug|doc|localization|metapackages|kernel|tasks)$/ &&
        section_of[package] !~ /^(python|perl|ruby|php|java|javascript|golang|rust|haskell|ocaml|lisp|gnu-r|cli-mono)$/ &&
        package !~ /-(data|common|dbg|dev|doc|bin|plugins?)$/) {
        print package ": " paragraph[1] (n_paragraphs > 1 ? ". " paragraph[2] : "") > (out "/programs.txt")
    }
}

function add_paragraph(text) {
    gsub(/[ \t\r]+/, " ", text)
    sub(/^ /, "", text)
    sub(/ $/, "", text)
    if (text != "") {
        paragraph[++n_paragraphs] = text
    }
}

# What is left of a text when digits and punctuation are not counted; bytes above ASCII are letters.
function letters(text) {
    text = tolower(text)
    gsub(/[^a-z\200-\377]+/, "", text)
    return text
}

function write_corpus(    i, n) {
    n = 0
    for (i = 1; i <= n_paragraphs; i++) {
        if (!seen_paragraph[letters(paragraph[i])]++) {
            print paragraph[i] > (out "/corpus.txt")
            n++
        }
    }
    if (n > 0) {
        print "" > (out "/corpus.txt")
    }
}

# A polynomial hash below 2^31 whose products stay exact in a double.
function hash(text,    i, n, h) {
    n = length(text)
    h = 5381
    for (i = 1; i <= n; i++) {
        h = (h * 65599 + code[substr(text, i, 1)]) % 2147483647
    }
    return h
}

function split_by_source(source,    bucket) {
    gsub(/[0-9.]+/, "", source)
    bucket = int(hash(source) / 1000) % 20
    return bucket == 0 ? "dev" : bucket <= 2 ? "test" : "train"
}

function write_all(    i, s, best, rank, n_kept, row_file) {
    for (rank = 1; rank <= 20; rank++) {
        best = ""
        for (s in n_in_section) {
            if (!(s in kept) && (best == "" || n_in_section[s] > n_in_section[best] ||
                                 (n_in_section[s] == n_in_section[best] && s < best))) {
                best = s
            }
        }
        if (best != "") {
            kept[best] = 1
        }
    }
    for (i = 1; i <= n_documents; i++) {
        s = section_of[name_of[i]]
        if (s in kept) {
            row_file = out "/section." split_of[i] ".tsv"
            printf "%d\t%s\t%s\n", hash(name_of[i]), s, text_of[i] > row_file
        }
    }
}
