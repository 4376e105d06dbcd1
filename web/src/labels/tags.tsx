interface TagsProps {
  tags: readonly string[];
  /** Returns the address of the list with this tag. */
  link: (tag: string) => string;
}

/** Tags as links to what else has them. */
export function Tags({ tags, link }: TagsProps) {
  if (tags.length === 0) {
    return null;
  }
  return (
    <span class="tags">
      {tags.map((tag) => (
        <a key={tag} class="tag" href={link(tag)}>
          <span class="hidden">tag </span>
          {tag}
        </a>
      ))}
    </span>
  );
}
